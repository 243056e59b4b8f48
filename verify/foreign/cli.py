"""`python -m verify foreign SPEC.py ...`: judge operators of libraries, each in a process of its own."""

from __future__ import annotations

import json
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from verify.exits import INFRASTRUCTURE, NOTHING, OK, REJECTED, SKIPPED, USAGE, Stop, guarded
from verify.foreign.document import Verdict, verdict_of
from verify.foreign.process import collect


class ForeignDepth(StrEnum):
    """How much of a spec to run."""

    quick = "quick"
    full = "full"


@guarded
def foreign(
    specs: Annotated[
        list[Path] | None, typer.Argument(help="Spec files, or folders of them; default: those that ship.")
    ] = None,
    depth: Annotated[
        ForeignDepth, typer.Option(help="quick: a few cases in float32; full: every case, dtype and stage.")
    ] = ForeignDepth.full,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write one JSON document here.")] = None,
    seconds: Annotated[float, typer.Option(help="Limit for each case; more is no verdict.", min=1.0)] = 180.0,
    memory: Annotated[int, typer.Option(help="Limit of a spec's process, in GiB of data.", min=1)] = 12,
    accept_known: Annotated[
        bool, typer.Option(help="Exit 0 where all that fails is a defect that the spec explains.")
    ] = False,
) -> None:
    """Judge a library's operators against references in float64. Nothing is admitted: trust is the vendor's.

    Exit codes: 0 passed, 1 a defect, 2 a broken spec or reference, 3 something is not installed or a process
    died, 4 a stage was skipped, 5 no spec file there.
    """
    files = _spec_files(specs or [shipped()])
    if not files:
        raise Stop(NOTHING, f"nothing to check: no spec file under {', '.join(map(str, specs or []))}")
    verdicts = []
    for path in files:
        started = time.monotonic()
        print(f"judging {path} at depth {depth.value}", file=sys.stderr)
        found = collect(path, depth=depth.value, seconds=seconds, memory_gib=memory, say=_say)
        verdict = verdict_of(str(path), found, depth=depth.value)
        print(f"  {time.monotonic() - started:.1f} s", file=sys.stderr)
        print("\n".join(verdict.lines()), flush=True)
        verdicts.append(verdict)
    if json_file is not None:
        document = {"depth": depth.value, "verdicts": [verdict.to_json() for verdict in verdicts]}
        json_file.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    codes = [verdict.exit_code(accept_known=accept_known) for verdict in verdicts]
    worst = next((code for code in (INFRASTRUCTURE, USAGE, REJECTED, SKIPPED) if code in codes), OK)
    raise Stop(worst, _sentence(verdicts))


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _sentence(verdicts: list[Verdict]) -> str:
    count: dict[str, int] = {}
    for verdict in verdicts:
        count[verdict.decision] = count.get(verdict.decision, 0) + 1
    return f"{len(verdicts)} judged: {', '.join(f'{n} {word}' for word, n in sorted(count.items()))}."


def shipped() -> Path:
    """The folder of the specs that ship."""
    return Path(__file__).resolve().parent / "specs"


def _spec_files(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise Stop(USAGE, f"{path}: expected a spec file or a folder, found nothing. Check the path.")
        found += sorted(p for p in path.glob("*.py") if p.stem != "__init__") if path.is_dir() else [path]
    return list(dict.fromkeys(found))
