"""A kernel that does not fit, or spills: compile it with fewer stages or other warps, and say what holds.

Nothing is said to fit that was not compiled. Imports neither torch nor Triton.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from verify.triton_cpu.compiler.report import Advice, CompileReport, Try
from verify.triton_cpu.compiler.targets import FACTS

MOST_TRIES = 4
SPILL_LIMIT_BYTES = 512
"""Spilled bytes per thread above which a kernel is rejected in bfloat16; below it they are only reported."""

Compile = Callable[[int, int], CompileReport]
"""(num_warps, num_stages) -> the same launch compiled with those."""

Trouble = Literal["limits", "spills"]


def trouble(report: CompileReport, *, spill_limit: int | None = SPILL_LIMIT_BYTES) -> Trouble | None:
    """Why other configurations are worth trying, or None. A limit of None lets a kernel spill."""
    if report.error is not None:
        return None
    if report.exceeded:
        return "limits"
    return "spills" if spill_limit is not None and report.spill_bytes > spill_limit else None


def advised(
    report: CompileReport, compile_with: Compile, *, spill_limit: int | None = SPILL_LIMIT_BYTES
) -> CompileReport:
    """The report with advice: other configurations of a kernel over a limit or that spills, until one holds.

    At most `MOST_TRIES` compiles, none for a kernel that is in no trouble. `compile_with` may raise; what it
    raises passes.
    """
    what = trouble(report, spill_limit=spill_limit)
    if what is None:
        return report
    tried: list[Try] = []
    for warps, stages in _configurations(report, what)[:MOST_TRIES]:
        other = compile_with(warps, stages)
        tried.append(
            Try(
                num_warps=warps,
                num_stages=stages,
                fits=other.fits,
                shared_bytes=other.shared_bytes,
                spill_bytes=other.spill_bytes,
            )
        )
        if other.fits and other.spill_bytes <= (SPILL_LIMIT_BYTES if what == "limits" else 0):
            break
    text = _limits_text(report, tried) if what == "limits" else _spills_text(report, tried)
    return replace(report, advice=Advice(tried=tuple(tried), text=text))


def _configurations(report: CompileReport, what: Trouble) -> list[tuple[int, int]]:
    """(num_warps, num_stages) to try, the mildest change first."""
    warps, stages, facts = report.num_warps, report.num_stages, FACTS[report.target]
    most = facts.threads_per_block // facts.warp_size
    if what == "spills":
        found = [(warps * 2, stages), (warps, 1), (warps * 2, 1)]  # kernels that spill are dear to compile
    elif "threads" in report.exceeded:
        found = [(most, stages), (most, 1)]
    else:
        # Buffers grow with the stages beyond the first, nearly in proportion: begin where they should fit.
        share = facts.shared_block_bytes / max(1, report.shared_bytes)
        likely = min(stages - 1, 1 + int((stages - 1) * share))
        found = [(warps, likely), (warps, likely - 1), (warps, 1), (warps // 2, 1)]
    possible = [(w, s) for w, s in found if 1 <= w <= most and s >= 1 and (w, s) != (warps, stages)]
    return list(dict.fromkeys(possible))


def _named(report: CompileReport, one: Try) -> str:
    changes = []
    if one.num_warps != report.num_warps:
        changes.append(f"num_warps {one.num_warps}")
    if one.num_stages != report.num_stages:
        changes.append(f"num_stages {one.num_stages}")
    return " and ".join(changes)


def _limits_text(report: CompileReport, tried: list[Try]) -> str:
    fitting = [one for one in tried if one.fits]
    if fitting:
        best = min(fitting, key=lambda one: (one.spill_bytes > SPILL_LIMIT_BYTES, tried.index(one)))
        spills = f", but spill {best.spill_bytes:,} B a thread" if best.spill_bytes else ""
        return f"{_named(report, best)} would fit ({best.shared_bytes:,} B){spills}"
    if not tried:
        return "no smaller num_stages or num_warps is left to try: use smaller tiles"
    names = ", ".join(_named(report, one) for one in tried)
    sizes = [one.shared_bytes for one in tried if one.shared_bytes]
    least = f", the least being {min(sizes):,} B" if sizes else ""
    return f"of {names} none fits{least}: use smaller tiles"


def _spills_text(report: CompileReport, tried: list[Try]) -> str:
    fitting = [one for one in tried if one.fits]
    best = min(fitting, key=lambda one: (one.spill_bytes, tried.index(one)), default=None)
    if best is not None and not best.spill_bytes:
        return f"{_named(report, best)} would remove them"
    if best is not None and best.spill_bytes < report.spill_bytes:
        return f"{_named(report, best)} would leave {best.spill_bytes:,} B: use smaller tiles"
    names = ", ".join(_named(report, one) for one in tried)
    return f"of {names} none helps: use smaller tiles" if tried else "use smaller tiles"
