"""Where a report goes: the files that were asked for, and GitHub's own places when it runs there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from verify.gate.annotations import annotation_lines
from verify.gate.junit import junit_bytes
from verify.gate.records import GateReport
from verify.gate.sarif import sarif_bytes
from verify.gate.summary import summary_text


def write_outputs(
    report: GateReport, *, junit: Path | None, sarif: Path | None, summary: Path | None
) -> None:
    """Write the files; on GitHub also the step's summary and, to stderr, an annotation per finding.

    Only where output goes depends on the environment, never what it says.
    """
    if junit is not None:
        junit.write_bytes(junit_bytes(report))
    if sarif is not None:
        sarif.write_bytes(sarif_bytes(report))
    if summary is not None:
        summary.write_text(summary_text(report), encoding="utf-8")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        sys.stderr.write("".join(f"{line}\n" for line in annotation_lines(report)))
        step = os.environ.get("GITHUB_STEP_SUMMARY")
        if step:
            with Path(step).open("a", encoding="utf-8") as file:
                file.write(summary_text(report))
