"""The whole story of one candidate: its diff against its skeleton, its verdict, and what showed each
claim.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from verify.findings import STAGES
from verify.judge.verdict import Verdict
from verify.report import MARKS
from verify.source.static import Mechanism, check_static

SHOWN = {
    "source": "read from the syntax tree, nothing was run",
    "trace": "the wrappers traced on tensors without data",
    "interpreter": "the kernels run in the instrumented interpreter on a CPU, against the float64 reference",
    "compiler": "compiled ahead of time by Triton for sm_80, sm_90, sm_100 and gfx942",
    "model": "a roofline model, not a measurement",
    "all": "every stage above",
}


def describe_candidate(file: Path, source: bytes) -> tuple[dict[str, Any], list[str], bool]:
    """Everything there is to say about one mechanism file: (JSON document, text lines, is it admitted).

    Reads `verdict.json` and `measured/` beside the file where they are; runs only the static stages.
    """
    static = check_static(source, path=str(file))
    verdict, problem = _committed_verdict(file, static.mechanism)
    lines = [f"{file}", ""]
    diff: list[str] = []
    if static.mechanism is not None:
        lines += _headline(static.mechanism)
        diff = skeleton_diff(static.mechanism)
        lines += ["", "Difference from its skeleton:", *(diff or ["  none: it is the skeleton, or free"])]
    lines += [f"  {finding.render(str(file))}" for finding in static.findings]
    if verdict is not None:
        lines += [
            "",
            (
                f"Verdict: {verdict.admission} at depth {verdict.depth} (rules {verdict.rules}, isolation "
                f"{verdict.isolation}, Triton {verdict.triton}, plan seed {verdict.plan_seed:016x})"
            ),
        ]
        lines += _claims(verdict)
        lines += _properties(verdict)
    measured = _measured(file)
    lines += _margins(measured)
    admitted = verdict is not None and problem is None and verdict.admission == "admitted"
    summary = problem or (
        "admitted; its verdict speaks about this very source" if admitted else "not admitted"
    )
    document = {
        "path": str(file),
        "summary": summary,
        "diff": diff,
        "findings": [f.to_json() for f in static.findings],
        "verdict": verdict.to_json() if verdict else None,
        "measured": measured,
    }
    return document, lines, admitted


def skeleton_diff(mechanism: Mechanism) -> list[str]:
    """Unified diff, one line of context, of a mechanism against the skeleton that it names."""
    if mechanism.skeleton is None:
        return []
    path = Path(__file__).resolve().parents[1] / "templates" / f"{mechanism.skeleton}.py"
    skeleton = path.read_text().splitlines()
    return list(
        difflib.unified_diff(
            skeleton,
            mechanism.source.splitlines(),
            f"templates/{mechanism.skeleton}.py",
            "mechanism.py",
            lineterm="",
            n=1,
        )
    )


def _headline(mechanism: Mechanism) -> list[str]:
    spec = mechanism.spec
    first = mechanism.docstring.strip().splitlines()[0]
    return [
        first,
        (
            f"skeleton {mechanism.skeleton or 'free'}; "
            f"inputs {', '.join(entry.name for entry in spec.inputs)}; "
            f"params {', '.join(entry.name for entry in spec.params) or 'none'}; "
            f"state {', '.join(entry.name for entry in spec.state) or 'none'}"
        ),
    ]


def _committed_verdict(file: Path, mechanism: Mechanism | None) -> tuple[Verdict | None, str | None]:
    path = file.with_name("verdict.json")
    if file.name != "mechanism.py" or not path.exists():
        return None, "no verdict.json beside it; `python -m verify check` gives one"
    try:
        verdict = Verdict.from_bytes(path.read_bytes())
    except ValueError as error:
        return None, str(error)
    if mechanism is None or verdict.source_hash != mechanism.source_hash:
        return (
            verdict,
            "the verdict is about another source: its hash does not match this file. Check it again.",
        )
    return verdict, None


def _claims(verdict: Verdict) -> list[str]:
    lines = []
    for stage in STAGES:
        if stage in verdict.stages:
            shown = SHOWN.get(verdict.evidence.get(stage, ""), "")
            lines.append(f"  {stage}  {MARKS[verdict.stages[stage]]:5} {shown}".rstrip())
    return lines


def _properties(verdict: Verdict) -> list[str]:
    if not verdict.properties:
        return []
    told = ", ".join(f"{name} {MARKS[status]}" for name, status in verdict.properties.items())
    return [f"  properties: {told}"]


def _measured(file: Path) -> dict[str, Any]:
    found = {}
    for path in sorted(file.parent.glob("measured/*.json")) if file.name == "mechanism.py" else []:
        try:
            found[path.stem] = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            found[path.stem] = {"unreadable": str(error)}
    return found


def _margins(measured: Mapping[str, Any]) -> list[str]:
    lines = []
    for device, numbers in measured.items():
        for dtype, ratios in sorted(numbers.get("error_over_tolerance", {}).items()):
            worst = max(ratios, key=lambda name: ratios[name])
            lines.append(
                f"  {device}, {dtype}: largest error is {ratios[worst]:.2g} of the tolerance, in {worst}"
            )
        for row in numbers.get("throughput", ()):
            shape = ", ".join(f"{name}={size}" for name, size in row["shape"].items())
            lines.append(
                f"  {row['device']}: at least {row['microseconds']:.0f} us forward + backward at {shape} "
                "(predicted lower bound)"
            )
    return ["", "Measured:", *lines] if lines else []
