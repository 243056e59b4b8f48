"""The command `verify compile`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from verify.exits import INFRASTRUCTURE, NOTHING, OK, REJECTED, USAGE, Stop, guarded


class TargetName(StrEnum):
    """What can be compiled for."""

    sm_80 = "sm_80"
    sm_90 = "sm_90"
    sm_100 = "sm_100"
    gfx942 = "gfx942"


@guarded
def compile_mechanisms(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Mechanism files, candidate folders, specs of libraries, or folders of these."),
    ],
    target: Annotated[
        list[TargetName] | None, typer.Option(help="May be given again; default: all four.")
    ] = None,
    head: Annotated[
        list[int] | None, typer.Option(help="Head sizes, in bfloat16; may be given again; default: 64.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="bfloat16, float16 or float32.")] = "bfloat16",
    census: Annotated[bool, typer.Option("--census", help="Also count the instructions.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one stable JSON document instead of text.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the result to this file instead of stdout.")
    ] = None,
    seconds: Annotated[
        bool, typer.Option("--seconds", help="With --json: add how long each compile took, which varies.")
    ] = False,
    cache: Annotated[bool, typer.Option(help="Reuse reports on unchanged sources.")] = True,
    allow_weak_isolation: Annotated[
        bool,
        typer.Option(help="Go on even where Landlock or seccomp is missing. Only for sources you trust."),
    ] = False,
) -> None:
    """Compile mechanisms ahead of time: what each kernel needs on each target, and what limits it.

    Specs of `verify foreign` are compiled at their own shape. Exit codes: 0 everything compiles and fits, 1
    something does not, 3 something is not installed or took too long, 5 nothing to compile.
    """
    from verify.cli import emit, read_source
    from verify.judge.compiling import Shape
    from verify.resources.command import Request, compile_files
    from verify.resources.libraries import compile_foreign, is_foreign
    from verify.resources.table import document_lines, without_seconds
    from verify.triton_cpu.compiler.report_store import ReportStore

    if dtype not in ("bfloat16", "float16", "float32"):
        raise Stop(USAGE, f"--dtype: expected bfloat16, float16 or float32, got {dtype}.")
    files = [(path, read_source(path)) for path in _files(paths)]
    if not files:
        raise Stop(NOTHING, f"nothing to compile: no mechanism or spec under {', '.join(map(str, paths))}")
    request = Request(
        targets=tuple(dict.fromkeys(one.value for one in target or TargetName)),
        shapes=tuple(Shape(dtype=dtype, head=size) for size in dict.fromkeys(head or [64])),
        census=census,
        require_isolation=not allow_weak_isolation,
    )
    store = ReportStore() if cache else None
    foreign = [file for file in files if is_foreign(file[1])]
    done = compile_files([file for file in files if file not in foreign], request, store=store, say=_say)
    others = compile_foreign(foreign, request.targets, census=census, store=store, say=_say)
    document = {**done.document, "libraries": [one.row for one in others]}
    lines = document_lines(document)
    emit(document if seconds else without_seconds(document), lambda: lines, as_json, output)
    found = done.rejected + sum(bool(one.row["findings"]) for one in others)
    stopped = done.timed_out or any(one.failed for one in others)
    kernels = done.kernels + sum(one.kernels for one in others)
    known = kernels - done.compiled - sum(one.compiled for one in others)
    raise Stop(
        INFRASTRUCTURE if stopped else REJECTED if found else OK,
        f"{len(files) - found} of {len(files)} files compile and fit; {kernels} reports, {max(known, 0)} of "
        "them known before.",
    )


def _files(paths: Sequence[Path]) -> list[Path]:
    """Mechanisms, and specs of libraries' operators; folders give both."""
    from verify.cli import find_mechanisms
    from verify.resources.libraries import is_foreign

    found = find_mechanisms(paths)
    for folder in (path for path in paths if path.is_dir()):
        specs = (file for file in sorted(folder.rglob("*.py")) if is_foreign(file.read_bytes()))
        found += [file for file in specs if file.parent.name == "specs"]
    return list(dict.fromkeys(found))


def _say(line: str) -> None:
    print(line, file=sys.stderr)
