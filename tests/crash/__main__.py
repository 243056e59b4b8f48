"""A table of kills: when, what was there, what differs in the end. Exit code 1 where anything does."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.crash.killing import Replays, Search, record

_ROW = "{:>4}  {:>11}  {:>5}  {:10}  {:>13}  {:>12}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=25, help="moments at which a run is killed")
    parser.add_argument("--budget", type=int, default=24, help="proposals of a run")
    parser.add_argument("--policy", default="evolutionary")
    parser.add_argument("--depth", choices=("quick", "full"), default="full")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help="keep everything here (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="also write the table here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = options.folder or Path(temporary)
        search = Search(budget=options.budget, policy=options.policy, depth=options.depth)
        began = time.monotonic()
        answers = record(search, home / "recorded", home / "cache" / "aira-harness" / "verdicts")
        judged = time.monotonic()
        replays = Replays(search, answers, home)
        rows = []
        rng = random.Random(options.seed)
        print(f"a run of {search.budget} proposals has {replays.events} events, admits {replays.admitted}")
        print(_ROW.format("kill", "after event", "found", "last", "events differ", "files differ"))
        for number in range(1, options.kills + 1):
            one = replays.kill(rng.randrange(replays.events), f"kill-{number}", rng)
            rows.append(one)
            print(
                _ROW.format(number, one.after, one.found, one.kind, one.events_differ, one.files_differ),
                flush=True,
            )
    ended = time.monotonic()
    same = sum(row.same for row in rows)
    print(
        f"{same} of {len(rows)} killed runs ended with the events and folders of the whole one; "
        f"judging {judged - began:.0f} s, kills {ended - judged:.0f} s"
    )
    if options.json:
        table = {"search": asdict(search), "events": replays.events, "kills": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return int(same < len(rows))


if __name__ == "__main__":
    sys.exit(main())
