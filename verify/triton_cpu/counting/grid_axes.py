"""How a kernel takes its program id apart: `pid // 16` and `pid % 16` say that one axis of the grid is two.

A grid of `B * H * chunks` programs on one axis has three axes, and a sample that does not know them meets the
ragged last chunk of every head by chance. So one program runs under watch: its program ids are followed
through conversions, divisions and `n - pid`, and every divisor is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_QUOTIENTS = ("create_sdiv", "create_udiv", "create_idiv")
_REMAINDERS = ("create_srem", "create_urem")
_CHANGED = (*_QUOTIENTS, *_REMAINDERS, "create_get_program_id", "create_int_cast", "create_sub")


class _Trail:
    """Values that are a digit of a program id: which axis, and how many programs one step of it is."""

    def __init__(self) -> None:
        self.cuts: tuple[set[int], set[int], set[int]] = (set(), set(), set())
        self._known: dict[int, tuple[Any, int, int]] = {}  # by identity; holds the value, so that it stays

    def note(self, value: Any, axis: int, unit: int) -> Any:
        self._known[id(value)] = (value, axis, unit)
        return value

    def of(self, value: Any) -> tuple[int, int] | None:
        found = self._known.get(id(value))
        return None if found is None else found[1:]


@contextmanager
def watched_divisions(builder: Any) -> Iterator[tuple[set[int], set[int], set[int]]]:
    """Watch what runs on `builder` -> for each axis the sizes at which its index is cut, as they are found.

    A cut at 64 means that programs 0 to 63 are a row. The builder is itself again on the way out.
    """
    trail = _Trail()
    for name in _CHANGED:
        setattr(builder, name, _watching(name, getattr(builder, name), trail))
    try:
        yield trail.cuts
    finally:
        for name in _CHANGED:
            delattr(builder, name)


def _watching(name: str, method: Callable[..., Any], trail: _Trail) -> Any:
    """The builder's method, and a note of what it does to a program id."""

    def program_id(axis: int) -> Any:
        return trail.note(method(axis), axis, 1)

    def cast(value: Any, *options: Any) -> Any:
        result, known = method(value, *options), trail.of(value)
        return result if known is None or result is value else trail.note(result, *known)

    def subtract(lhs: Any, rhs: Any) -> Any:
        result, known = method(lhs, rhs), trail.of(rhs)
        return result if known is None else trail.note(result, *known)  # counted from the other end

    def divide(lhs: Any, rhs: Any, *options: Any) -> Any:
        result, known = method(lhs, rhs, *options), trail.of(lhs)
        if known is None or rhs.data.size != 1 or int(rhs.data.flat[0]) < 1:
            return result
        axis, unit = known
        cut = unit * int(rhs.data.flat[0])
        trail.cuts[axis].add(cut)
        return trail.note(result, axis, cut if name in _QUOTIENTS else unit)

    ways = {"create_get_program_id": program_id, "create_int_cast": cast, "create_sub": subtract}
    return ways.get(name, divide)
