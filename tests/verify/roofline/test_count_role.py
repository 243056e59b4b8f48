"""Role `count`, in this process: what it is told, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from verify.plan.format import BufferDecl, Copy, Fill, Launch, Plan, TensorRef
from verify.roles import count
from verify.roles.count import Handler
from verify.roofline.estimate import address_space, moved
from verify.sandbox.wire import Refusal
from verify.triton_cpu.counting.counts import LaunchCounts
from verify.triton_cpu.interpreter.launch import WorkLimits

SOURCE = """
import triton
import triton.language as tl


@triton.jit
def repeated(x, times, out, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for _ in range(tl.load(times)):
        total += tl.load(x + at)
    tl.store(out + at, total)
"""


def ref(buffer: int, dtype: str, *shape: int, strides: tuple[int, ...] | None = None) -> TensorRef:
    dense = tuple(int(step) for step in np.cumprod((1, *reversed(shape[1:])))[::-1])
    return TensorRef(buffer=buffer, dtype=dtype, shape=shape, strides=strides or dense, offset=0)


def plan(times: float, *, programs: int = 4) -> Plan:
    """Fill `times`, copy it, and launch on the copy."""
    x, out = ref(0, "float32", programs * 64), ref(1, "float32", programs * 64)
    given, copied = ref(2, "int32", 1), ref(3, "int32", 1)
    arguments = (("x", x), ("times", copied), ("out", out), ("BLOCK", 64))
    return Plan(
        buffers=(
            BufferDecl(nbytes=programs * 256, argument="x", label="x"),
            BufferDecl(nbytes=programs * 256, argument=None, label="out"),
            BufferDecl(nbytes=4, argument=None, label="times"),
            BufferDecl(nbytes=4, argument=None, label="copy"),
        ),
        forward=(
            Fill(out=given, value=times, line=1),
            Copy(source=given, out=copied, line=2),
            Launch(
                kernel="repeated",
                arguments=arguments,
                grid=(programs, 1, 1),
                num_warps=4,
                num_stages=1,
                line=3,
            ),
        ),
        output=out,
        state=(),
        residuals=(),
        backward=(),
        gradients=None,
    )


def counted(asked: Plan, **header: Any) -> LaunchCounts:
    handler = Handler(SOURCE)
    handler.handle("plan", {"plan": asked.to_json(), "kernels": ["repeated"], "contents": []}, [])
    answer, _ = handler.handle("next", {"programs": 24, "seed": 0, **header}, [])
    return LaunchCounts.from_json(answer["launch"])


def test_fills_and_copies_of_integers_decide_what_a_kernel_does() -> None:
    counts = counted(plan(5.0)).counts
    assert counts.loop_steps == 4 * 5
    assert counts.bytes_loaded == 4 * (5 * 256 + 4)
    assert counts.unique_loaded == 4 * 256 + 4
    assert counts.fp32_flops == 4 * 5 * 64


def test_a_program_that_does_too_much_is_refused_by_its_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count, "LIMITS", WorkLimits(launches=1, programs=1 << 40, loop_steps=1000))
    with pytest.raises(Refusal) as refused:
        counted(plan(2.0**30, programs=100))
    assert refused.value.rule == "NUM-WORK-LIMIT"


def test_unknown_methods_are_our_mistake() -> None:
    with pytest.raises(ValueError, match="plan or next"):
        Handler(SOURCE).handle("run", {}, [])


def test_a_plans_own_steps_move_each_byte_once() -> None:
    source = ref(0, "float32", 10, 64, strides=(0, 1))  # one row, ten times
    copy = moved(Copy(source=source, out=ref(1, "float32", 10, 64), line=1)).counts
    assert (copy.bytes_loaded, copy.unique_loaded, copy.unique_stored) == (2560, 256, 2560)
    assert (copy.fetched_sectors, copy.flushed_sectors) == (8, 80)
    fill = moved(Fill(out=ref(1, "bfloat16", 3, 3), value=1.0, line=1)).counts
    assert (fill.unique_loaded, fill.unique_stored, fill.flushed_sectors) == (0, 18, 1)


def test_there_are_addresses_for_every_element_and_its_stamps() -> None:
    small, large = address_space(plan(1.0)), address_space(plan(1.0, programs=1 << 20))
    assert large - small > 2 * (1 << 28) * 4
