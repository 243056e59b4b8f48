"""How many candidates a minute two judge processes get through, beside one: `python -m harness.engine.bench`.

The same search is run by one process and by two in turns, because whatever else the machine does hits both;
each judge has one thread, and no verdict is remembered. Prints a table and writes JSON; exit code 1 where the
two do not come to the same events.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.engine.judging import open_fresh_judge
from harness.policies.comparison.runs import Comparison, differing_events, run_one
from harness.policies.opening import DEFAULT

WORKERS = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One run: judge processes, seconds by the clock on the wall, and the candidates it judged."""

    workers: int
    seconds: float
    candidates: int

    @property
    def per_minute(self) -> float:
        return self.candidates / self.seconds * 60.0


def timed_run(folder: Path, *, workers: int, candidates: int, seed: int) -> tuple[Timed, Path]:
    """A search of `candidates` proposals at depth quick, from an empty folder, and its record's folder."""
    search = Comparison(policies=(DEFAULT,), seeds=(seed,), budget=candidates, depth="quick")
    began = time.monotonic()
    result = run_one(search, DEFAULT, seed, folder, judges=open_fresh_judge, workers=workers)
    seconds = time.monotonic() - began
    return Timed(workers=workers, seconds=seconds, candidates=candidates), result.run_file.parent


def main() -> int:
    """Run the pairs and print what they came to; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m harness.engine.bench", description=__doc__)
    parser.add_argument("--candidates", type=int, default=24, help="proposals of each run")
    parser.add_argument("--repeats", type=int, default=2, help="pairs of runs, each from a seed of its own")
    parser.add_argument("--json", type=Path, help="also write the table here")
    options = parser.parse_args()
    runs: list[Timed] = []
    same = True
    print(f"{'seed':>4}  {'workers':>7}  {'seconds':>8}  {'candidates a minute':>19}")
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(options.repeats):
            records: list[Path] = []
            for workers in WORKERS:
                folder = Path(temporary) / f"{seed}-{workers}"
                timed, record = timed_run(folder, workers=workers, candidates=options.candidates, seed=seed)
                print(f"{seed:4}  {workers:7}  {timed.seconds:8.1f}  {timed.per_minute:19.1f}", flush=True)
                runs.append(timed)
                records.append(record)
            same = same and not differing_events(*records)
    rate = {n: _rate([run for run in runs if run.workers == n]) for n in WORKERS}
    ratio = rate[2] / rate[1]
    print(f"two workers: {ratio:.2f} x the candidates a minute of one; the same events: {same}")
    if options.json:
        table = {"runs": [asdict(run) for run in runs], "ratio": ratio, "same_events": same}
        options.json.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return int(not same)


def _rate(runs: list[Timed]) -> float:
    """Candidates a minute over all of these runs."""
    return sum(run.candidates for run in runs) / sum(run.seconds for run in runs) * 60.0


if __name__ == "__main__":
    sys.exit(main())
