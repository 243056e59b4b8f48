"""The process that meets the library: load one spec, do its jobs, write one JSON line for each to a pipe.

    python -m verify.foreign.child SPEC.py --depth full --first 0 --without --pipe 3 --memory 12

A library's prints go to stdout and stderr, which are not evidence. Whatever happens to this process, the
parent knows which job it was in.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

from verify.foreign.spec import BrokenSpec, Spec


def main() -> None:
    """Do the jobs; every event is one line of JSON."""
    arguments = _parse()
    faulthandler.enable()
    limit = arguments.memory << 30
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(arguments.pipe, "w", encoding="utf-8") as pipe:

        def say(event: str, **fields: Any) -> None:
            pipe.write(json.dumps({"event": event, **fields}, sort_keys=True) + "\n")
            pipe.flush()

        try:
            _work(arguments, say)
        except BrokenSpec as broken:
            say("broken", message=str(broken))
        except Exception:  # noqa: BLE001  the parent must hear of it
            traceback.print_exc()
            say("bug", message=traceback.format_exc(limit=-3))
        say("end")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("spec", type=Path)
    parser.add_argument("--depth", choices=("quick", "full"), required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--without", type=int, nargs="*", default=[])
    parser.add_argument("--pipe", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True, help="GiB")
    return parser.parse_args()


def _work(arguments: argparse.Namespace, say: Any) -> None:
    from verify.foreign.loading import Unavailable, load, require

    try:
        require(())
        _prepare()
        from verify.foreign.hosting import importing

        with importing():
            spec = load(arguments.spec)
        versions = require(spec.requires)
    except Unavailable as missing:
        say("unavailable", message=str(missing))
        return
    from verify.foreign.jobs import do, jobs_of

    jobs = jobs_of(spec, arguments.depth)
    say("spec", versions=versions, jobs=[job.label for job in jobs], **_described(spec))
    for index, job in enumerate(jobs):
        if index < arguments.first or index in arguments.without:
            continue
        say("start", job=index)
        try:
            outcome, measured = do(spec, job, lambda: say("alive"))
        except BrokenSpec as broken:
            say("broken", message=str(broken), job=index)
            continue
        except MemoryError:
            say("memory", job=index)
            continue
        say(
            "done",
            job=index,
            notes=[note.to_json() for note in outcome.notes],
            ratios=outcome.ratios,
            shown=sorted(outcome.shown),
            skipped=outcome.skipped,
            measured=measured,
        )


def _prepare() -> None:
    """One thread, so that sums have one order, and no benchmark of any kind."""
    import torch

    torch.set_num_threads(1)


def _described(spec: Spec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "source": spec.source,
        "differentiable": spec.differentiable,
        "deviations": [
            {
                "rule": one.rule,
                "kind": one.kind,
                "why": one.why,
                "where": one.where,
                "case": one.case,
                "message": one.message,
            }
            for one in spec.deviations
        ],
    }


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # a library's exit handlers and threads have nothing more to say
