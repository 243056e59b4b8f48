"""What a kernel's loops are given and leave behind."""

from __future__ import annotations

from typing import Any

from verify.triton_cpu.private import core


class LoopVariableAfterItsLoop:
    """What is left of one: a device has anything at all there, so whatever uses it fails."""

    def __repr__(self) -> str:
        return "the variable of a loop after the loop, which a device does not keep"


_LOOP_VARIABLE = LoopVariableAfterItsLoop()


def over(variable: Any) -> Any:
    """What a loop's variable is after the loop; that of an unrolled loop is a number, and stays."""
    return _LOOP_VARIABLE if isinstance(variable, core.tensor) else variable


def bounds_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
    """(start, stop, step) of range, tl.range or tl.static_range; hints to the compiler are dropped."""
    given = dict(zip(("arg1", "arg2", "step"), args, strict=False)) | {
        key: value for key, value in kwargs.items() if key in ("arg1", "arg2", "step")
    }
    step = given.get("step")
    if core._unwrap_if_constexpr(step) is None:
        step = 1
    if core._unwrap_if_constexpr(given.get("arg2")) is None:
        return 0, given["arg1"], step
    return given["arg1"], given["arg2"], step
