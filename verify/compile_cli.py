"""The command `verify compile`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from verify.exits import INFRASTRUCTURE, NOTHING, OK, REJECTED, Stop, guarded


class TargetName(StrEnum):
    """What can be compiled for."""

    sm_80 = "sm_80"
    sm_90 = "sm_90"
    sm_100 = "sm_100"
    gfx942 = "gfx942"


@guarded
def compile_mechanisms(
    paths: Annotated[
        list[Path], typer.Argument(help="Mechanism files, candidate folders, or folders that hold them.")
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
    """Compile mechanisms ahead of time: what each kernel needs on each target, and what limits it."""
    from verify.cli import emit, find_mechanisms, read_source
    from verify.compile_command import Request, compile_files
    from verify.compile_table import document_lines
    from verify.judge.compiling import Shape
    from verify.triton_cpu.report_store import ReportStore

    if dtype not in ("bfloat16", "float16", "float32"):
        raise Stop(2, f"--dtype: expected bfloat16, float16 or float32, got {dtype}.")
    files = find_mechanisms(paths)
    if not files:
        raise Stop(NOTHING, f"nothing to compile: no mechanism file under {', '.join(map(str, paths))}")
    request = Request(
        targets=tuple(dict.fromkeys(one.value for one in target or TargetName)),
        shapes=tuple(Shape(dtype=dtype, head=size) for size in dict.fromkeys(head or [64])),
        census=census,
        require_isolation=not allow_weak_isolation,
    )
    sources = [(path, read_source(path)) for path in files]
    done = compile_files(sources, request, store=ReportStore() if cache else None, say=_say)
    lines = document_lines(done.document)
    if not seconds:
        for mechanism in done.document["mechanisms"]:
            for report in mechanism["reports"]:
                del report["seconds"]
    emit(done.document, lambda: lines, as_json, output)
    code = INFRASTRUCTURE if done.timed_out else REJECTED if done.rejected else OK
    known = done.kernels - done.compiled
    raise Stop(
        code,
        f"{len(files) - done.rejected} of {len(files)} files compile and fit; {done.kernels} reports, "
        f"{max(known, 0)} of them known before.",
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr)
