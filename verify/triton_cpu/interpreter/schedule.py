"""Which programs of a launch run as one.

Programs of a grid are independent, so an operation can be done for many of them at once: NumPy is called once
for the group instead of once for each. Where programs take different ways, the group is divided by what the
decision hangs on and its parts start again; where their order matters, they run one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from verify.triton_cpu.interpreter.builder import Builder
from verify.triton_cpu.interpreter.group import Diverged, NotTogether
from verify.triton_cpu.memory.accesses import Memory, Repeat
from verify.triton_cpu.memory.buffers import Array

LARGEST_GROUP = 256
LANES = 1 << 16
"""Elements of one operation over a whole group: more of them leave the processor's cache."""

_FIRST_GROUP = 8
_DEEPEST = 6
_MOST_SCHEDULES = 512


class Schedule:
    """What was learned about one kernel on one grid with one set of sizes: it changes time, never a
    result.
    """

    def __init__(self, programs: int) -> None:
        self.alone = programs < 2
        self.noted: frozenset[str] = frozenset()
        """Buffers that programs read and write in one launch."""
        self._widest = 0
        self._programs = programs
        self._classes: list[Array] = []

    def learn(self, again: Repeat | NotTogether) -> None:
        """Run differently next time."""
        if isinstance(again, NotTogether) or again.alone:
            self.alone = True
        else:
            self.noted |= {again.buffer}

    def run(self, builder: Builder, memory: Memory, kernel: Callable[[], Any]) -> None:
        """Every program, in groups. Raises Repeat or NotTogether where that cannot be."""
        memory.in_groups = True
        classes: dict[int, list[Array]] = {}
        known = self._classes or [np.arange(self._programs)]
        waiting = [(group, 0) for group in reversed(known)]
        while waiting:
            group, depth = waiting.pop()
            most = 1 if depth > _DEEPEST else self._most(group.size)
            if group.size > most:
                waiting.append((group[most:], depth))
                group = group[:most]
            work, events = builder.work.saved(), memory.saved_events()
            builder.begin_group(group)
            try:
                kernel()
            except Diverged as split:
                if memory.updated_in_place():
                    raise Repeat(alone=True) from None
                builder.work.restore(work)
                memory.restore_events(events)
                parts = [group[split.values == value] for value in np.unique(split.values)]
                waiting += [(part, depth + 1) for part in reversed(parts)]
            else:
                classes.setdefault(builder.way, []).append(group)
                self._widest = max(self._widest, builder.widest)
        self._classes = [np.concatenate(groups) for groups in classes.values()]

    def _most(self, size: int) -> int:
        """Programs of a group at most; the first group shows how wide the kernel's blocks are."""
        if self._widest == 0:
            return min(size, _FIRST_GROUP)
        return max(2, min(LARGEST_GROUP, LANES // self._widest))


class Schedules:
    """Schedules by kernel, grid and scalar arguments; the oldest are forgotten."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Schedule] = {}

    def of(self, kernel: object, grid: tuple[int, int, int], arguments: Mapping[str, Any]) -> Schedule:
        """`arguments` are the launch's; pointers do not count, only what is a number, a name or None."""
        plain = tuple(
            (key, value)
            for key, value in arguments.items()
            if value is None or isinstance(value, (int, float, str))
        )
        name = (id(kernel), grid, plain)
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= _MOST_SCHEDULES:
                self._known.pop(next(iter(self._known)))
            found = self._known[name] = Schedule(grid[0] * grid[1] * grid[2])
        return found

    def forget(self) -> None:
        """Learn everything anew: results do not depend on it, times do."""
        self._known.clear()
