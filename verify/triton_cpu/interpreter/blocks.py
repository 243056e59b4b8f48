"""Block pointers and tensor descriptors: a block of a tensor by its corner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from verify.triton_cpu import private
from verify.triton_cpu.interpreter import numerics
from verify.triton_cpu.interpreter.handles import Array, BlockPointer, Descriptor, Handle
from verify.triton_cpu.memory.overflow import Exact


class Blocks:
    """The part of the builder that makes blocks and reads and writes them."""

    exact: Exact
    _load: Callable[[Handle, Array | None, Array | None], Handle]
    _store: Callable[[Handle, Handle, Array | None], None]

    def create_make_block_ptr(
        self,
        base: Handle,
        shape: Sequence[Handle],
        strides: Sequence[Handle],
        offsets: Sequence[Handle],
        block_shape: Sequence[int],
        _order: object,
    ) -> BlockPointer:
        return BlockPointer(base, shape, strides, offsets, block_shape)

    def create_advance(self, pointer: BlockPointer, steps: Sequence[Handle]) -> BlockPointer:
        moved = pointer.advanced(steps)
        for before, step, after in zip(pointer.offsets, steps, moved.offsets, strict=True):
            self.exact.check(np.add, before.data, step.data, after.data)
        return moved

    def create_tensor_pointer_load(
        self, pointer: BlockPointer, checked: Sequence[int], padding: object, *_policy: Any
    ) -> Handle:
        self.exact.corner(pointer.base.buffer, [offset.data for offset in pointer.offsets])
        pointers, mask = pointer.pointers(checked)
        other = np.full((), np.nan, np.float32) if private.padding_is_nan(padding) else None
        return self._load(pointers, mask, other)

    def create_tensor_pointer_store(
        self, pointer: BlockPointer, value: Handle, checked: Sequence[int], *_policy: Any
    ) -> None:
        self.exact.corner(pointer.base.buffer, [offset.data for offset in pointer.offsets])
        pointers, mask = pointer.pointers(checked)
        self._store(pointers, value, mask)

    def create_make_tensor_descriptor(
        self,
        base: Handle,
        shape: Sequence[Handle],
        strides: Sequence[Handle],
        block_shape: Sequence[int],
        _signed: bool,
        padding: object = None,
        *_options: Any,
    ) -> Descriptor:
        return Descriptor(base, shape, strides, block_shape, nan=private.padding_is_nan(padding))

    def create_descriptor_load(
        self, descriptor: Descriptor, offsets: Sequence[Handle], *_policy: Any
    ) -> Handle:
        self.exact.corner(descriptor.base.buffer, [offset.data for offset in offsets])
        pointers, mask = descriptor.pointers(offsets)
        other = np.full((), np.nan, np.float32) if descriptor.nan else None
        loaded = self._load(pointers, mask, other)
        if descriptor.tf32:
            return Handle(numerics.round_tf32_even(loaded.data), loaded.dtype)
        return loaded

    def create_descriptor_store(
        self, descriptor: Descriptor, value: Handle, offsets: Sequence[Handle]
    ) -> None:
        self.exact.corner(descriptor.base.buffer, [offset.data for offset in offsets])
        pointers, mask = descriptor.pointers(offsets)
        self._store(pointers, value, mask)
