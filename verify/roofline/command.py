"""`python -m verify roofline`: what a mechanism's launches need at least, at a size and on a target."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from verify.exits import OK, REJECTED, USAGE, Stop, guarded


class TargetName(StrEnum):
    """The device whose rates are the roofs."""

    sm_80 = "sm_80"
    sm_90 = "sm_90"
    sm_100 = "sm_100"
    gfx942 = "gfx942"


@guarded
def roofline(
    mechanism: Annotated[Path, typer.Argument(help="A candidate folder, or a mechanism file.")],
    shape: Annotated[
        str,
        typer.Option(help="Sizes, e.g. B=4,H=16,T=8192,K=64,V=64; the rest as the first reference shape."),
    ] = "",
    dtype: Annotated[str, typer.Option(help="One of the mechanism's dtypes.")] = "bfloat16",
    target: Annotated[
        TargetName, typer.Option(help="A100, H100, B200 or MI300X, by what kernels are compiled for.")
    ] = TargetName.sm_90,
    programs: Annotated[
        int, typer.Option(help="Programs of a launch to run at most; the others are extrapolated.", min=8)
    ] = 24,
    png: Annotated[
        Path | None, typer.Option(help="Draw the chart into this file (needs the extra `report`).")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one stable JSON document instead of text.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Write the result to this file instead of stdout.")
    ] = None,
    allow_weak_isolation: Annotated[
        bool,
        typer.Option(help="Go on even where Landlock or seccomp is missing. Only for sources you trust."),
    ] = False,
) -> None:
    """Count a mechanism's launches at a real size, and bound their time: a model, not a measurement.

    A few programs of each launch run in the interpreter. Exit code 1 where they cannot, or where they
    violate memory.
    """
    from verify.cli import emit, read_source  # noqa: PLC0415  it registers this command
    from verify.roofline.estimate import estimate_file  # noqa: PLC0415  loads the judge

    file = mechanism / "mechanism.py" if mechanism.is_dir() else mechanism
    try:
        found = estimate_file(
            file,
            read_source(file),
            shape=shape,
            dtype=dtype,
            target=target.value,
            programs=programs,
            require_isolation=not allow_weak_isolation,
            say=lambda line: typer.echo(line, err=True),
        )
        if png is not None and found.bounds:
            found.draw(png)
    except ValueError as error:
        raise Stop(USAGE, f"{error}") from None
    emit(found.to_json(), found.lines, as_json, output)
    raise Stop(REJECTED if found.findings else OK, found.summary)
