"""The judge's command line: check, show, replay, explain, compile, roofline, bench, time, gate,
refresh, selftest, foreign.

Exit codes: 0 admitted (or clean at the asked depth), 1 rejected, 2 usage, 3 infrastructure or our bug, 4 a
required stage was skipped, 5 nothing to check, 130 interrupted, 141 nobody reads on. Results go to stdout,
progress to stderr.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from verify import rules
from verify.exits import INFRASTRUCTURE, NOTHING, OK, REJECTED, SKIPPED, USAGE, Stop, guarded, verdict_exit
from verify.foreign.cli import foreign
from verify.resources.cli import compile_mechanisms
from verify.roofline.command import roofline

if TYPE_CHECKING:
    from verify.judge.cache import CachingJudge
    from verify.judge.judge import Judge

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


class DeviceName(StrEnum):
    """Where kernels run."""

    cpu = "cpu"
    cuda = "cuda"


class FormName(StrEnum):
    """What `bench` can time."""

    kernels = "kernels"
    eager = "eager"
    compiled = "compiled"
    sdpa = "sdpa"


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
    seconds: Annotated[
        bool, typer.Option("--seconds", help="With --json: add how long each stage took, which varies.")
    ] = False,
    plan_seed: Annotated[
        int,
        typer.Option(
            help="Draw the cases from another root seed: a second look, without CMP and THR; admits nothing.",
            min=0,
        ),
    ] = 0,
    device: Annotated[
        DeviceName, typer.Option(help="Where kernels run: in the interpreter (cpu), or on a GPU.")
    ] = DeviceName.cpu,
) -> None:
    """Judge mechanisms. Every finding is printed; the exit code is the worst verdict's."""
    from verify.report import shown_json, verdict_lines

    files = find_mechanisms(paths)
    if not files:
        raise Stop(NOTHING, f"nothing to check: no mechanism file under {', '.join(map(str, paths))}")
    verdicts = []
    strict = not allow_weak_isolation
    with judge_for(depth.value, cache=cache, require_isolation=strict, device=device.value) as judge:
        for path in files:
            print(f"checking {path} at depth {depth.value}", file=sys.stderr)
            source = read_source(path)
            verdict = judge.check(source, path=str(path), depth=depth.value, root_seed=plan_seed)
            verdicts.append((path, verdict))
    rows = [{"path": str(p), **v.to_json(), "shown": shown_json(v)} for p, v in verdicts]
    if seconds:
        for row, (_, verdict) in zip(rows, verdicts, strict=True):
            row["seconds"] = verdict.measured.get("seconds", {})
    document = {"depth": depth.value, "verdicts": rows}
    emit(document, lambda: [line for p, v in verdicts for line in verdict_lines(str(p), v)], as_json, output)
    codes = [verdict_exit(verdict, redrawn=plan_seed != 0) for _, verdict in verdicts]
    passed = sum(1 for code in codes if code == OK)
    worst = next((code for code in (INFRASTRUCTURE, REJECTED, SKIPPED) if code in codes), OK)
    word = "admitted" if depth is DepthName.full else f"clean at depth {depth.value}"
    word = f"clean under plan seed {plan_seed}" if plan_seed else word
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


app.command(name="compile")(compile_mechanisms)


@app.command()
@guarded
def bench(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Mechanism files; default: the skeletons.")
    ] = None,
    device: Annotated[
        DeviceName, typer.Option(help="cuda; cpu only exercises the clock, on definitions.")
    ] = DeviceName.cuda,
    form: Annotated[
        list[FormName] | None, typer.Option(help="What to time: may be given again; default: everything.")
    ] = None,
    repetitions: Annotated[int, typer.Option(help="Of each form at each shape.", min=1)] = 15,
    record: Annotated[
        bool, typer.Option(help="Keep the documents: beside a candidate, for skeletons in docs/measured/.")
    ] = False,
    as_json: Json = False,
    output: Output = None,
    allow_weak_isolation: Annotated[
        bool,
        typer.Option(help="Go on even where Landlock or seccomp is missing. Only for sources you trust."),
    ] = False,
) -> None:
    """Time mechanisms on a device, at the reference shapes, beside their definitions."""
    from verify.device import document as documents
    from verify.device.attach import attach
    from verify.device.bench import FORMS
    from verify.judge.judge import Judge
    from verify.sandbox.client import Server

    if record and device is DeviceName.cpu:
        raise Stop(USAGE, "expected --device cuda with --record, got cpu: times of a CPU are not kept")
    files = find_mechanisms(paths or [templates_folder()])
    if not files:
        raise Stop(NOTHING, "nothing to time: no mechanism file there")
    benched = []
    with ExitStack() as stack:
        attached = attach(device.value)
        stack.callback(attached.server.close)
        server = stack.enter_context(closing(Server()))
        judge = Judge(server, require_isolation=not allow_weak_isolation)
        for path in files:
            print(f"timing {path} on {attached.described['name']}", file=sys.stderr)
            benched.append(
                documents.bench_file(
                    path,
                    read_source(path),
                    judge=judge,
                    server=server,
                    device=attached,
                    forms=tuple(one.value for one in form) if form else FORMS,
                    repetitions=repetitions,
                )
            )
        kept = documents.record(benched, attached.slug) if record else []
    document = {"device": device.value, "mechanisms": [one.document for one in benched]}
    lines = [line for one in benched for line in documents.document_lines(one)]
    emit(document, lambda: lines, as_json, output)
    rejected = sum(1 for one in benched if one.findings)
    refused = sum(1 for one in benched if one.refused and not one.findings)
    timed = len(benched) - rejected - refused
    words = f"{timed} of {len(benched)} timed, {rejected} rejected, {refused} refused"
    where = f"; {len(kept)} documents written" if record else ""
    raise Stop(REJECTED if rejected else SKIPPED if refused else OK, f"{words}{where}.")


@app.command()
@guarded
def time(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Mechanism files; default: the skeletons.")
    ] = None,
    as_json: Json = False,
    output: Output = None,
    repeat: Annotated[int, typer.Option(help="Whole-process runs per depth.", min=1)] = 1,
) -> None:
    """Time the judge: whole `check` processes per depth, and seconds per stage."""
    from verify.time_judge import time_judge

    document, lines = time_judge(find_mechanisms(paths or [templates_folder()]), repeat=repeat)
    emit(document, lambda: lines, as_json, output)
    raise Stop(OK if document["holds"] else REJECTED, document["summary"])


@app.command()
@guarded
def gate(
    base: Annotated[str, typer.Option(help="Branch or commit that the pull request will be merged into.")],
    seed: Annotated[
        int | None, typer.Option(help="Replay the fresh plan of an earlier run.", min=1, max=2**63 - 1)
    ] = None,
    jobs: Annotated[int, typer.Option(help="Judges at a time.", min=1, max=64)] = 2,
    as_json: Json = False,
    output: Output = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="Write SARIF 2.1.0 to this file.")] = None,
    summary: Annotated[Path | None, typer.Option(help="Write a Markdown summary to this file.")] = None,
) -> None:
    """Judge what a pull request changes, by the rules of its base branch. Writes nothing to the checkout."""
    from verify.gate.git import WrongUsage
    from verify.gate.judging import CheckProcesses
    from verify.gate.outputs import write_outputs
    from verify.gate.run import Settings, run_gate
    from verify.gate.text import report_lines

    plan_seed = seed or secrets.randbelow(2**32 - 1) + 1
    settings = Settings(folder=Path.cwd(), base=base, plan_seed=plan_seed, jobs=jobs)
    print(f"fresh plan seed {plan_seed}", file=sys.stderr)
    try:
        report = run_gate(settings, CheckProcesses())
    except WrongUsage as wrong:
        raise Stop(USAGE, str(wrong)) from None
    emit(report.to_json(), lambda: report_lines(report), as_json, output)
    write_outputs(report, junit=junit, sarif=sarif, summary=summary)
    raise Stop(report.exit_code, report.sentence)


@app.command()
@guarded
def refresh(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Candidate folders, or folders of them; default: candidates/.")
    ] = None,
    as_json: Json = False,
    output: Output = None,
    write_rejected: Annotated[
        bool, typer.Option(help="Also write the verdicts of candidates that are no longer admitted.")
    ] = False,
) -> None:
    """Judge every candidate again and rewrite the verdicts that differ. Mechanisms are never touched."""
    from verify.gate.refresh import find_candidates, refresh_candidate, refresh_sentence
    from verify.gate.reproduce import require_pinned_triton

    roots = paths or [Path("candidates")]
    missing = [str(root) for root in roots if not root.is_dir()]
    if missing and paths:
        raise Stop(USAGE, f"{', '.join(missing)}: expected a folder, found none. Check the path.")
    folders = list(dict.fromkeys(folder for root in roots for folder in find_candidates(root)))
    if not folders:
        raise Stop(NOTHING, f"nothing to check: no mechanism.py under {', '.join(map(str, roots))}")
    require_pinned_triton()
    results = []
    with judge_for("full", cache=False, require_isolation=True) as judge:
        for folder in folders:
            print(f"judging {folder}", file=sys.stderr)
            results.append(refresh_candidate(folder, judge, write_rejected=write_rejected))
    document = {"candidates": [result.to_json() for result in results], "summary": refresh_sentence(results)}
    emit(document, lambda: [result.line() for result in results], as_json, output)
    outcomes = {result.verdict.admission if not result.verdict.timed_out else None for result in results}
    codes = {None: INFRASTRUCTURE, "rejected": REJECTED, "incomplete": SKIPPED}
    worst = next((code for outcome, code in codes.items() if outcome in outcomes), OK)
    raise Stop(worst, refresh_sentence(results))


app.command()(foreign)
app.command()(roofline)


@app.command()
@guarded
def selftest() -> None:
    """Does the interpreter compute what a device computes, under the Triton that is installed?"""
    from verify.triton_cpu.selftest import runner as known
    from verify.triton_cpu.version import VERSION

    failures = known.run()
    for failure in failures:
        print(failure)
    name = ".".join(map(str, VERSION))
    if failures:
        raise Stop(
            INFRASTRUCTURE,
            f"{len(failures)} of {len(known.CHECKS)} known answers are wrong under Triton {name}: this "
            "interpreter judges no kernel",
        )
    print(f"{len(known.CHECKS)} known answers are right under Triton {name}")


def main() -> NoReturn:
    """Run the command line and exit with the documented code."""
    app(prog_name="verify")
    raise AssertionError("typer ends the process")


@contextmanager
def judge_for(
    depth: str, *, cache: bool, require_isolation: bool, device: str = "cpu"
) -> Iterator[CachingJudge]:
    """A judge that starts its warm server only when a source is not in the cache.

    What a device shows is never cached: the key does not say which device it was.
    """
    from verify.judge.cache import CachingJudge, VerdictCache

    with ExitStack() as stack:

        def make() -> Judge:
            from verify.judge.judge import Judge

            if depth == "static":
                return Judge(None)
            from verify.sandbox.client import Server

            attached = None
            if device == "cuda":
                from verify.device.attach import attach

                attached = attach("cuda")
                stack.callback(attached.server.close)
            server = stack.enter_context(closing(Server()))
            return Judge(server, require_isolation=require_isolation, device=attached)

        yield CachingJudge(make, VerdictCache() if cache and device == "cpu" else None)


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


def emit(
    document: dict[str, Any], lines: Callable[[], Sequence[str]], as_json: bool, output: Path | None
) -> None:
    """Write the JSON document or the text, to a file or stdout."""
    text = json.dumps(document, indent=2, sort_keys=True) if as_json else "\n".join(lines())
    if output is None:
        print(text)
        return
    output.write_text(text + "\n")
