"""`nox -s mutants` and `nox -s margins`: how sharp the judge is, measured.

Prints mutant x stage with a naive check beside it, or, with `--margins`, per skeleton and dtype the honest
kernels' error, the tolerance and the mildest mutant. Exits 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.mutants.catalogue import STAGES, Mutant, mutants, skeleton_source
from tests.mutants.measure import Measurement, measure
from verify.sandbox.client import Server

HONEST_SHARE = 0.5
LEAST_RATIO = {"float32": 50.0}
"""Error / tolerance that every mutant of a dtype must reach; 1 where not named."""

LEAST_MUTANTS = 40

Row = tuple[Mutant, Measurement]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--margins", action="store_true", help="print the table of margins instead")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--output", type=Path, help="write the result to this file")
    options = parser.parse_args(arguments)
    every = mutants()
    with closing(Server()) as server:
        rows = [(one, _measured(server, one, naive=not options.margins)) for one in every]
        if options.margins:
            honest = {
                name: measure(server, skeleton_source(name), naive=False)
                for name in sorted({one.skeleton for one in every})
            }
            document, lines = margins(rows, honest)
        else:
            document, lines = table(rows)
    text = json.dumps(_finite(document), indent=2, sort_keys=True) if options.json else "\n".join(lines)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    print(document["summary"], file=sys.stderr)
    return 0 if document["holds"] else 1


def _measured(server: Server, mutant: Mutant, *, naive: bool) -> Measurement:
    print(f"judging {mutant.label}", file=sys.stderr)
    return measure(server, mutant.source, group=mutant.group, naive=naive)


def table(rows: Sequence[Row]) -> tuple[dict[str, Any], list[str]]:
    """Mutant x stage, the naive check, and error / tolerance in the dtype where it shows.

    Holds when each is rejected by the stage that should, and there are LEAST_MUTANTS.
    """
    width = max((len(mutant.label) for mutant, _ in rows), default=0)
    marks = " ".join(f"{stage:>5}" for stage in STAGES)
    lines = [f"{'mutant':{width}} {marks}  naive check  error / tolerance"]
    caught, entries = 0, []
    for mutant, found in rows:
        right = mutant.stage in found.stages
        caught += right
        marks = " ".join(f"{'FAIL' if stage in found.stages else 'pass':>5}" for stage in STAGES)
        naive = "passes it" if found.naive_passes else "rejects it"
        ratio = f"{found.ratios.get(mutant.dtype, 0.0):.3g}"
        lines.append(
            f"{mutant.label:{width}} {marks}  {naive:11}  {ratio:>9} {mutant.dtype}"
            + ("" if right else f"   EXPECTED {mutant.stage} TO REJECT IT")
        )
        entries.append(
            {
                "mutant": f"{mutant.skeleton}/{mutant.name}",
                "wrong": mutant.wrong,
                "expected": mutant.stage,
                "stages": sorted(found.stages),
                "naive_passes": found.naive_passes,
                "ratios": found.ratios,
            }
        )
    fooled = sum(1 for _, found in rows if found.naive_passes)
    summary = (
        f"{caught} of {len(rows)} mutants rejected by the stage that should; the naive check lets "
        f"{fooled} of {len(rows)} pass"
    )
    holds = caught == len(rows) >= LEAST_MUTANTS
    return {"holds": holds, "rows": entries, "summary": summary}, [*lines, "", summary]


def margins(rows: Sequence[Row], honest: Mapping[str, Measurement]) -> tuple[dict[str, Any], list[str]]:
    """Per skeleton and dtype: error / tolerance of the honest kernels and of the mildest wrong ones.

    Mutants of memory are left out: what they leave in results is chance.
    """
    lines = [f"{'skeleton':28} {'dtype':9} {'honest':>7} {'tolerance':>10} {'mildest mutant':>15}  which"]
    entries = []
    for skeleton, right in sorted(honest.items()):
        for dtype, share in sorted(right.ratios.items()):
            name, mildest = _mildest(rows, skeleton, dtype)
            enough = dtype != "float32" if mildest is None else mildest >= LEAST_RATIO.get(dtype, 1.0)
            fine = enough and share <= HONEST_SHARE and not right.findings
            entries.append(
                {
                    "skeleton": skeleton,
                    "dtype": dtype,
                    "honest": share,
                    "mildest": mildest,
                    "mutant": name,
                    "holds": fine,
                }
            )
            shown = "-" if mildest is None else f"{mildest:.3g}"
            lines.append(
                f"{skeleton:28} {dtype:9} {share:7.3f} {1:10} {shown:>15}  {name or ''}"
                + ("" if fine else "   DOES NOT HOLD")
            )
    holds = bool(entries) and all(entry["holds"] for entry in entries)
    claim = (
        f"honest kernels at most {HONEST_SHARE:g} of the tolerance, float32 mutants at least "
        f"{LEAST_RATIO['float32']:g} times it, others at least once"
    )
    summary = f"{'all margins hold' if holds else 'a margin does not hold'}: {claim}"
    return {"holds": holds, "rows": entries, "summary": summary}, [*lines, "", summary]


def _mildest(rows: Sequence[Row], skeleton: str, dtype: str) -> tuple[str | None, float | None]:
    """Name and error / tolerance of the mutant of a dtype that is nearest to right, if there is one."""
    wrong = {
        mutant.name: found.ratios.get(dtype, 0.0)
        for mutant, found in rows
        if (mutant.skeleton, mutant.dtype) == (skeleton, dtype) and mutant.stage != "MEM"
    }
    name = min(wrong, key=lambda key: wrong[key], default=None)
    return name, None if name is None else wrong[name]


def _finite(document: Any) -> Any:
    """The document with infinities and NaN as text: JSON has neither."""
    if isinstance(document, dict):
        return {key: _finite(value) for key, value in document.items()}
    if isinstance(document, list):
        return [_finite(value) for value in document]
    return str(document) if isinstance(document, float) and not math.isfinite(document) else document


if __name__ == "__main__":
    sys.exit(main())
