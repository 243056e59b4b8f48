"""The report as JUnit XML, which every CI shows: a suite per candidate, a case per stage."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from verify.findings import STAGES
from verify.gate.records import GateReport, Located, Report
from verify.gate.words import one_line


def junit_bytes(report: GateReport) -> bytes:
    """The document. No times: the gate judges in parallel, and a case's share would be invented."""
    root = ET.Element("testsuites", name="verify gate")
    for one in report.reports:
        root.append(_suite(one.path, _cases(one)))
    if report.strays:
        root.append(_suite("candidates", [_case("candidates", "layout", "fail", report.strays)]))
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def _suite(path: str, cases: list[ET.Element]) -> ET.Element:
    suite = ET.Element("testsuite", name=_text(path))
    suite.extend(cases)
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", str(sum(case.find("error") is not None for case in cases)))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    return suite


def _cases(report: Report) -> list[ET.Element]:
    """Stages of the verdict, the fresh plan's, then stages that only the gate or another judge spoke
    about.
    """
    own = [located for located in report.findings if located.by in ("gate", "judge")]
    others = [located for located in report.findings if located.by not in ("gate", "judge")]
    by_stage = {stage: [one for one in own if one.finding.stage == stage] for stage in STAGES}
    cases = [
        _case(report.path, stage, report.stages.get(stage, "pass"), by_stage[stage])
        for stage in STAGES
        if stage in report.stages or by_stage[stage] or stage == "ADM"
    ]
    for stage, status in report.fresh.items():
        found = [one for one in others if one.by == "fresh plan" and one.finding.stage == stage]
        cases.append(_case(report.path, f"{stage} (fresh plan)", status, found))
    rest = [one for one in others if one.by != "fresh plan" or one.finding.stage not in report.fresh]
    cases += [_case(report.path, f"{one.finding.rule} ({one.by})", "fail", [one]) for one in rest]
    return list(_distinct(cases))


def _distinct(cases: list[ET.Element]) -> Iterator[ET.Element]:
    """Readers of JUnit merge cases of one name; number the later ones."""
    seen: dict[str, int] = {}
    for case in cases:
        name = case.get("name", "")
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            case.set("name", f"{name} {seen[name]}")
        yield case


def _case(path: str, name: str, status: str, found: list[Located] | tuple[Located, ...]) -> ET.Element:
    case = ET.Element("testcase", classname=_text(path.replace("/", ".")), name=_text(name))
    if any(located.finding.rule == "ADM-TIMEOUT" for located in found):
        ET.SubElement(case, "error", type="ADM-TIMEOUT", message="the machine gave up; this is no verdict")
    elif found:
        first = found[0]
        failure = ET.SubElement(
            case,
            "failure",
            type=first.finding.rule,
            message=_text(f"{first.finding.rule} {first.finding.message}"),
        )
        failure.text = "\n".join(_text(located.render()) for located in found)
    elif status == "fail":
        ET.SubElement(case, "failure", type=name, message="failed without a finding: a defect of the judge")
    elif status == "skip":
        ET.SubElement(case, "skipped", message="skipped, which is not a pass")
    elif status == "n/a":
        ET.SubElement(case, "system-out").text = "n/a: the stage does not apply to this mechanism"
    return case


def _text(text: str) -> str:
    """XML has no way to write most control characters."""
    return one_line(text)
