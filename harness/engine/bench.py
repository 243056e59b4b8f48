"""How many candidates a minute two judge processes get through, beside one: `python -m harness.engine.bench`.

The same search is run in turns, because whatever else the machine does hits all: by one process with a core
to itself, by one that may use every core, and by two with a core each. A judge's own steps overlap, and
proposals are written meanwhile, so that one process keeps more than one core busy where it may; only a core
each says what a second process adds. Each judge has one thread, and no verdict is remembered. Prints a table
and writes JSON; exit code 1 where the runs do not come to the same events.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.engine.judging import open_fresh_judge
from harness.policies.comparison.runs import Comparison, differing_events, run_one
from harness.policies.opening import DEFAULT


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a run may use: `workers` judge processes on `cores` cores, everything of the run included."""

    workers: int
    cores: int


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One run: its setting, seconds by the clock on the wall, and the candidates it judged."""

    workers: int
    cores: int
    seconds: float
    candidates: int

    def __str__(self) -> str:
        per_minute = self.candidates / self.seconds * 60.0
        return f"{self.workers:7}  {self.cores:5}  {self.seconds:8.1f}  {per_minute:19.1f}"


def timed_run(folder: Path, setting: Setting, *, candidates: int, seed: int) -> tuple[Timed, Path]:
    """A search of `candidates` proposals at depth quick, from an empty folder, and its record's folder."""
    search = Comparison(policies=(DEFAULT,), seeds=(seed,), budget=candidates, depth="quick")
    began = time.monotonic()
    with _on(setting.cores):
        result = run_one(search, DEFAULT, seed, folder, judges=open_fresh_judge, workers=setting.workers)
    seconds = time.monotonic() - began
    timed = Timed(workers=setting.workers, cores=setting.cores, seconds=seconds, candidates=candidates)
    return timed, result.run_file.parent


@contextlib.contextmanager
def _on(cores: int) -> Iterator[None]:
    """Keep this process, and those that it starts, on that many of its cores."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def main() -> int:
    """Run the settings in turns and print what they came to; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m harness.engine.bench", description=__doc__)
    parser.add_argument("--candidates", type=int, default=24, help="proposals of each run")
    parser.add_argument("--repeats", type=int, default=2, help="turns, each from a seed of its own")
    parser.add_argument("--json", type=Path, help="also write the table here")
    options = parser.parse_args()
    every = len(os.sched_getaffinity(0))
    if every < 2:
        parser.error(f"expected at least 2 cores, got {every}: a second process has none to itself")
    one, free, two = Setting(workers=1, cores=1), Setting(workers=1, cores=every), Setting(workers=2, cores=2)
    runs: list[Timed] = []
    same = True
    print(f"{'seed':>4}  {'workers':>7}  {'cores':>5}  {'seconds':>8}  {'candidates a minute':>19}")
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(options.repeats):
            records: list[Path] = []
            for place, setting in enumerate((one, free, two)):
                folder = Path(temporary) / f"{seed}-{place}"
                timed, record = timed_run(folder, setting, candidates=options.candidates, seed=seed)
                print(f"{seed:4}  {timed}", flush=True)
                runs.append(timed)
                records.append(record)
            same = same and not any(differing_events(records[0], other) for other in records[1:])
    ratio = _rate(runs, two) / _rate(runs, one)
    beside_free = _rate(runs, two) / _rate(runs, free)
    print(
        f"two workers with a core each: {ratio:.2f} x the candidates a minute of one with a core, "
        f"{beside_free:.2f} x of one with {every} cores; the same events: {same}"
    )
    if options.json:
        table = {
            "runs": [asdict(run) for run in runs],
            "ratio": ratio,
            "ratio_beside_every_core": beside_free,
            "same_events": same,
        }
        options.json.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return int(not same)


def _rate(runs: list[Timed], setting: Setting) -> float:
    """Candidates a minute over all runs of a setting."""
    chosen = [run for run in runs if (run.workers, run.cores) == (setting.workers, setting.cores)]
    return sum(run.candidates for run in chosen) / sum(run.seconds for run in chosen) * 60.0


if __name__ == "__main__":
    sys.exit(main())
