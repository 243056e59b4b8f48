"""A table of launches: programs run, programs in all, and the count that the sample has worst."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.agreement.comparing import compare_mechanism

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
SHAPE = "B=2,H=5,T=330,D=20"
"""Ragged last tiles, head sizes that are no power of two, several programs on every axis."""

LIMIT = 0.02


def main(paths: list[str]) -> int:
    """Compare every mechanism; 1 if a count is off by more than LIMIT."""
    files = [Path(path) for path in paths] or sorted(TEMPLATES.glob("*/v*/*.py"))
    print(f"{'mechanism':32} {'kernel':24} {'run':>4} {'of':>6}  worst count, relative error")
    worst = 0.0
    for path in files:
        for one in compare_mechanism(path, SHAPE):
            name, error = one.worst()
            worst = max(worst, abs(error))
            run, size = one.estimate.sampled, one.exact.size
            print(f"{path.stem:32} {one.exact.kernel:24} {run:4} {size:6}  {name} {error:+.3%}", flush=True)
    print(f"worst of all: {worst:.3%}; expected at most {LIMIT:.0%}")
    return int(worst > LIMIT)


sys.exit(main(sys.argv[1:]))
