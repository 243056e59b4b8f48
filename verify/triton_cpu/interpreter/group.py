"""The programs that run as one: who they are, who takes part, and what they must agree on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from verify.triton_cpu.interpreter.arithmetic import Work
from verify.triton_cpu.interpreter.handles import Array, BlockPointer, Handle
from verify.triton_cpu.interpreter.rounding import Loose
from verify.triton_cpu.memory.accesses import Memory
from verify.triton_cpu.memory.overflow import Exact
from verify.triton_cpu.private import tl

LARGE = 1 << 13
"""Elements of one operation that take as long as getting to it."""


class NotTogether(Exception):
    """The programs of a group cannot go on as one: `what` they are about to do depends on their order."""

    def __init__(self, what: str) -> None:
        super().__init__(f"expected operations that programs can run side by side, got {what}")
        self.what = what


class Diverged(Exception):
    """The programs of a group would take different ways; `values` (p,) is what the decision hangs on."""

    def __init__(self, values: Array) -> None:
        super().__init__("expected one value for all programs of a group, got several")
        self.values = values


class Group:
    """The part of the builder that knows which programs run."""

    memory: Memory
    work: Work
    exact: Exact
    loose: Loose | None
    create_select: Callable[[Handle, Handle, Handle], Handle]

    def reset(self) -> None:
        """A group of one program in a grid of one."""
        self.grid_dim = (1, 1, 1)
        self.programs = 1
        self.widest = 1
        """Elements of the largest block that the launch loaded, stored or multiplied, of one program."""
        self.way = 0
        """Hash of all decisions that the group has come to: groups of one way could be one group."""
        self._program_ids: tuple[Array, Array, Array] = (np.zeros(1, np.int32),) * 3
        self.group = object()
        """Another one whenever other programs start."""
        self.active: Array | None = None
        """Which programs (p,) take part, while some have left a loop that others are in; None: all."""

    def begin_group(self, numbers: Array) -> None:
        """The programs that run from now on, as one: `numbers` (p,) count with x fastest."""
        width, height, _ = self.grid_dim
        axes = (numbers % width, numbers // width % height, numbers // (width * height))
        x, y, z = ((axis[:1] if (axis == axis[0]).all() else axis).astype(np.int32) for axis in axes)
        self._program_ids = (x, y, z)
        self.group = object()
        self.programs = len(numbers)
        self.focus(None)
        self.way = 0
        self.memory.begin_group(numbers)
        self.exact.clear()
        if self.loose is not None:
            self.loose.begin_group()

    def focus(self, active: Array | None) -> None:
        """From now on the programs `active` (p,) take part (None: all); what others compute is not kept."""
        self.active, self.work.programs = None, self.programs
        if active is not None and not active.all():
            self.active, self.work.programs = active, int(np.count_nonzero(active))

    def decided(self, data: Array) -> Any:
        """The one value of a scalar that all programs that take part hold. Raises Diverged else."""
        if data.shape[0] != 1:
            if self.active is not None:
                data = np.where(self.active, data, data[self.active.argmax()])
            if (data != data[0]).any():
                raise Diverged(data)
        value = data[0]
        self.way = hash((self.way, int(value)))
        return value

    def parts_are_large(self, counts: Array) -> bool:
        """Whether programs with equal `counts` (p,) of passes fill a group by themselves.

        They better run apart then, and do not wait for those that take more.
        """
        return counts.size // np.unique(counts).size * self.widest >= LARGE

    def kept(self, new: Any, old: Any) -> Any:
        """What a variable holds after a pass through a loop: `new` where the program took part, else `old`.

        Raises NotTogether where a program's own pass would have changed more than its value.
        """
        if self.active is None or new is old:
            return new
        if isinstance(new, BlockPointer) and isinstance(old, BlockPointer):
            if new.block_shape != old.block_shape:
                raise NotTogether("a loop that changes the shape of a block")
            shape, strides, moved = (
                [self.kept(a, b) for a, b in zip(mine, others, strict=True)]
                for mine, others in (
                    (new.shape, old.shape),
                    (new.strides, old.strides),
                    (new.offsets, old.offsets),
                )
            )
            return BlockPointer(self.kept(new.base, old.base), shape, strides, moved, new.block_shape)
        if type(new) is not Handle or type(old) is not Handle:
            raise NotTogether("a loop that changes a descriptor")
        if new.dtype != old.dtype or new.data.shape[1:] != old.data.shape[1:] or new.buffer is not old.buffer:
            raise NotTogether("a loop that changes the type of a variable, or the tensor that it points into")
        active = self.active.reshape((-1,) + (1,) * (new.data.ndim - 1))
        return self.create_select(Handle(active, tl.int1), new, old)

    def _masked(self, data: Array, mask: Array | None) -> Array | None:
        """The mask of an access by the programs that take part."""
        if self.active is None:
            return mask
        active = self.active.reshape((-1,) + (1,) * (data.ndim - 1))
        if mask is None:
            return np.broadcast_to(active, (self.programs, *data.shape[1:]))
        return mask & active
