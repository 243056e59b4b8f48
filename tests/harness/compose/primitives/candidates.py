"""The repository's candidates, and altered copies of one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from verify.judge.verdict import REQUIRED, shown_on

CANDIDATES = Path(__file__).resolve().parents[4] / "candidates"
LINEAR = CANDIDATES / "linear_state" / "head-decay-sigmoid-softpeak-unit-pzbb45xn"
BIDIRECTIONAL = CANDIDATES / "softmax_attention" / "bidirectional-softl2-scale0p5km0p5-near128-tdfrenk6"


def copy(out: Path, folder: Path = LINEAR, **changes: object) -> Path:
    """A copy of a candidate under `out`, with these fields of its verdict changed."""
    target = out / folder.parent.name / folder.name
    target.mkdir(parents=True)
    shutil.copy(folder / "mechanism.py", target)
    verdict = json.loads((folder / "verdict.json").read_text())
    (target / "verdict.json").write_text(json.dumps({**verdict, **changes}))
    return target


def timed(out: Path) -> Path:
    """A copy whose verdict says that it was run and timed on a device."""
    shown = shown_on("device:NVIDIA H100 80GB HBM3")
    return copy(out, evidence={stage: shown[stage] for stage in REQUIRED})
