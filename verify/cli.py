"""The judge's command line: check, show, replay, explain, bench.

Exit codes: 0 admitted (or clean at the asked depth), 1 rejected, 2 usage, 3 infrastructure or our bug, 4 a
required stage was skipped, 5 nothing to check, 130 interrupted. Results go to stdout, progress to stderr.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec

import typer

from verify import rules
from verify.errors import InfrastructureError

if TYPE_CHECKING:
    from verify.judge.cache import CachingJudge
    from verify.judge.judge import Judge

OK, REJECTED, USAGE, INFRASTRUCTURE, SKIPPED, NOTHING, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

P = ParamSpec("P")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Judge sequence-mixing mechanisms: static checks, numerics, gradients, memory, compilation.",
)


class DepthName(StrEnum):
    """How deep to judge."""

    static = "static"
    quick = "quick"
    full = "full"


Paths = Annotated[
    list[Path], typer.Argument(help="Mechanism files, candidate folders, or folders that hold them.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one stable JSON document instead of text.")]
Output = Annotated[
    Path | None, typer.Option("--output", help="Write the result to this file instead of stdout.")
]
Png = Annotated[
    Path | None, typer.Option("--png", help="Draw the error map into this file (needs the extra `report`).")
]
WeakIsolation = Annotated[
    bool,
    typer.Option(
        "--allow-weak-isolation",
        help="Judge even where Landlock or seccomp is missing. Only for sources you trust.",
    ),
]


class Stop(Exception):
    """End the command with an exit code and one closing sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Every way in which a command ends becomes one sentence on stderr and a documented exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        code, sentence = OK, ""
        try:
            command(*args, **kwargs)
        except Stop as stop:
            code, sentence = stop.code, str(stop)
        except KeyboardInterrupt:
            code, sentence = INTERRUPTED, "interrupted; nothing that was finished is lost"
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = INFRASTRUCTURE
        except OSError as error:
            code = INFRASTRUCTURE
            sentence = f"the machine said no: {error}. Check the path, its permissions and the free space."
        except typer.Exit:
            raise
        except InfrastructureError as error:
            code, sentence = INFRASTRUCTURE, f"the judge could not work: {error}"
        except Exception:  # noqa: BLE001  the last line of defence
            traceback.print_exc()
            code, sentence = INFRASTRUCTURE, "this is a bug of the judge, not a statement about the mechanism"
        if sentence:
            print(sentence, file=sys.stderr)
        raise typer.Exit(code)

    return run


@app.command()
@guarded
def check(
    paths: Paths,
    depth: Annotated[
        DepthName, typer.Option(help="static (<= 1 s), quick, or full, which alone admits.")
    ] = DepthName.full,
    as_json: Json = False,
    output: Output = None,
    cache: Annotated[bool, typer.Option(help="Reuse verdicts for unchanged sources.")] = True,
    allow_weak_isolation: WeakIsolation = False,
) -> None:
    """Judge mechanisms. Every finding is printed; the exit code is the worst verdict's."""
    from verify.report import verdict_lines

    files = find_mechanisms(paths)
    if not files:
        raise Stop(NOTHING, f"nothing to check: no mechanism file under {', '.join(map(str, paths))}")
    verdicts = []
    with judge_for(depth.value, cache=cache, require_isolation=not allow_weak_isolation) as judge:
        for path in files:
            print(f"checking {path} at depth {depth.value}", file=sys.stderr)
            verdicts.append((path, judge.check(read_source(path), path=str(path), depth=depth.value)))
    document = {"depth": depth.value, "verdicts": [{"path": str(p), **v.to_json()} for p, v in verdicts]}
    emit(document, lambda: [line for p, v in verdicts for line in verdict_lines(str(p), v)], as_json, output)
    codes = [verdict_exit(verdict) for _, verdict in verdicts]
    passed = sum(1 for code in codes if code == OK)
    worst = next((code for code in (INFRASTRUCTURE, REJECTED, SKIPPED) if code in codes), OK)
    word = "admitted" if depth is DepthName.full else f"clean at depth {depth.value}"
    hint = "" if worst == OK else " `python -m verify explain RULE` says what a rule asks for."
    raise Stop(worst, f"{passed} of {len(codes)} {word}.{hint}")


@app.command()
@guarded
def explain(rule: Annotated[str, typer.Argument(help="A rule id, e.g. NUM-OUTPUT.")]) -> None:
    """Say what a rule asks for, why, and how to fix a finding of it."""
    try:
        print(rules.explain(rule))
    except KeyError as error:
        raise Stop(USAGE, str(error.args[0])) from None


@app.command()
@guarded
def show(
    candidate: Annotated[Path, typer.Argument(help="A candidate folder, or a mechanism file.")],
    as_json: Json = False,
    output: Output = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Judge it (quick, then full), and shrink and draw a failure.")
    ] = False,
    png: Png = None,
    allow_weak_isolation: WeakIsolation = False,
) -> None:
    """Print a mechanism's diff against its skeleton, its verdict, and what showed each claim.

    Nothing is run, unless --replay (or --png, which implies it) asks for the failure of a rejected mechanism:
    the smallest case that was found for the first wrong number, and a map of where the error sits. The exit
    code is then that of `check`.
    """
    from verify.show import describe_candidate

    file = candidate / "mechanism.py" if candidate.is_dir() else candidate
    source = read_source(file)
    document, lines, admitted = describe_candidate(file, source)
    if not (replay or png):
        emit(document, lambda: lines, as_json, output)
        raise Stop(OK if admitted else REJECTED, document["summary"])
    from verify.failure import find_failure

    require = not allow_weak_isolation
    with judge_for("full", cache=True, require_isolation=require) as judge:
        found = find_failure(file, source, judge, require_isolation=require, say=_say)
    if png and found.drawings:
        found.draw(png)
    replayed = {**document, "replay": found.document, "summary": found.summary}
    emit(replayed, lambda: [*lines, "", *found.lines], as_json, output)
    raise Stop(verdict_exit(found.verdict), found.summary)


@app.command()
@guarded
def replay(
    mechanism: Annotated[Path, typer.Argument(help="A candidate folder, or a mechanism file.")],
    case: Annotated[str, typer.Argument(help="The case, as a finding names it in brackets.")],
    as_json: Json = False,
    output: Output = None,
    png: Png = None,
    seed: Annotated[
        str | None, typer.Option(help="Seed of the inputs, hexadecimal; default: the verdict's own.")
    ] = None,
    allow_weak_isolation: WeakIsolation = False,
) -> None:
    """Run one case of a mechanism again: its findings, its worst element, and where the error sits.

    Exit code 0 if the case is right, 1 if it has a finding.
    """
    from verify.failure import replay_case

    file = mechanism / "mechanism.py" if mechanism.is_dir() else mechanism
    number = None if seed is None else _hexadecimal(seed)
    try:
        found = replay_case(
            file, read_source(file), case, seed=number, require_isolation=not allow_weak_isolation
        )
    except ValueError as error:
        raise Stop(USAGE, f"{error}") from None
    if png and found.drawings:
        found.draw(png)
    emit(found.document, lambda: found.lines, as_json, output)
    raise Stop(REJECTED if found.failed else OK, found.summary)


@app.command()
@guarded
def bench(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Mechanism files; default: the skeletons.")
    ] = None,
    as_json: Json = False,
    output: Output = None,
    repeat: Annotated[int, typer.Option(help="Whole-process runs per depth.", min=1)] = 1,
) -> None:
    """Time whole `check` processes per depth and print seconds per stage."""
    from verify.bench import run_bench

    document, lines = run_bench(find_mechanisms(paths or [templates_folder()]), repeat=repeat)
    emit(document, lambda: lines, as_json, output)
    raise Stop(OK if document["holds"] else REJECTED, document["summary"])


def main() -> NoReturn:
    """Run the command line and exit with the documented code."""
    app(prog_name="verify")
    raise AssertionError("typer ends the process")


@contextmanager
def judge_for(depth: str, *, cache: bool, require_isolation: bool) -> Iterator[CachingJudge]:
    """A judge that starts its warm server only when a source is not in the cache."""
    from verify.judge.cache import CachingJudge, VerdictCache

    with ExitStack() as stack:

        def make() -> Judge:
            from verify.judge.judge import Judge

            if depth == "static":
                return Judge(None)
            from verify.sandbox.client import Server

            return Judge(stack.enter_context(closing(Server())), require_isolation=require_isolation)

        yield CachingJudge(make, VerdictCache() if cache else None)


def find_mechanisms(paths: Sequence[Path]) -> list[Path]:
    """The mechanism files among `paths`: files as they are; folders give `mechanism.py` and skeletons,
    sorted.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise Stop(USAGE, f"{path}: expected a file or folder, found nothing. Check the path.")
        if path.is_file():
            found.append(path)
            continue
        found += sorted(
            file
            for file in path.rglob("*.py")
            if file.name == "mechanism.py" or (file.parent.name.startswith("v") and file.stem != "__init__")
        )
    return list(dict.fromkeys(found))


def read_source(path: Path) -> bytes:
    """A file's bytes, or a usage error."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Stop(USAGE, f"{path}: expected a readable file, got {error.strerror or error}") from None


def _hexadecimal(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise Stop(
            USAGE, f"--seed: expected a hexadecimal number, got {text!r}. Copy `plan_seed` of a verdict."
        ) from None


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def templates_folder() -> Path:
    """Where the skeletons are."""
    return Path(__file__).resolve().parents[1] / "templates"


def verdict_exit(verdict: Any) -> int:
    """0 admitted or clean at its depth, 1 rejected, 3 where the machine gave up, 4 a required stage
    skipped.
    """
    if verdict.admission == "rejected":
        return REJECTED
    if verdict.timed_out:
        return INFRASTRUCTURE
    if verdict.depth == "full" and verdict.admission != "admitted":
        return SKIPPED
    return OK


def emit(
    document: dict[str, Any], lines: Callable[[], Sequence[str]], as_json: bool, output: Path | None
) -> None:
    """Write the JSON document or the text, to a file or stdout."""
    text = json.dumps(document, indent=2, sort_keys=True) if as_json else "\n".join(lines())
    if output is None:
        print(text)
        return
    output.write_text(text + "\n")
