"""Launches as they happened, in the terms in which they can be compiled, counted and repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from verify.triton_cpu import private
from verify.triton_cpu.compiler.compile import CompilePointer
from verify.triton_cpu.private import JITFunction

_DEFAULT_WARPS, _DEFAULT_STAGES = 4, 3


@dataclass(frozen=True, kw_only=True)
class TensorFacts:
    """A tensor argument without its data.

    Strides are in elements; `offset` is its first element in the storage, which holds `storage_bytes`;
    `address16` is data_ptr() % 16.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage_bytes: int
    address16: int


@dataclass(frozen=True, kw_only=True)
class DescriptorFacts:
    """A host-side tensor descriptor: the tensor under it, and the block it moves."""

    base: TensorFacts
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    block_shape: tuple[int, ...]
    padding: str


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One launch.

    `arguments` by parameter name are what `compile_launch` takes: a `CompilePointer` for a tensor, numbers as
    they were passed, constexprs by value (also types and functions), tuples of such, `DescriptorFacts` for a
    descriptor. `tensors` holds the facts of the same tensors, a tuple's members as "name[0]". `options` are
    the compiler options besides warps and stages that the caller gave (num_ctas, maxnreg, ...).
    """

    kernel: JITFunction
    arguments: Mapping[str, Any]
    constexprs: frozenset[str]
    tensors: Mapping[str, TensorFacts]
    grid: tuple[int, int, int]
    num_warps: int = _DEFAULT_WARPS
    num_stages: int = _DEFAULT_STAGES
    options: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """The tensors themselves, where the recording keeps them: alive, and as later launches left them."""


def facts_of(tensor: torch.Tensor) -> TensorFacts:
    """What a recording keeps of a tensor."""
    return TensorFacts(
        dtype=tensor.dtype,
        shape=tuple(tensor.shape),
        stride=tuple(tensor.stride()),
        offset=tensor.storage_offset(),
        storage_bytes=tensor.untyped_storage().nbytes(),
        address16=tensor.data_ptr() % 16,
    )


def _name_of(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


class Recording:
    """The launches of an attachment in order; with `keep`, their tensors stay alive."""

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self.launches: list[Recorded] = []

    def add(self, kernel: JITFunction, bound: private.Bound, grid: tuple[int, int, int]) -> None:
        tensors: dict[str, torch.Tensor] = {}
        arguments = {name: _argument(name, value, tensors) for name, value in bound.values.items()}
        options = dict(bound.options)
        warps, stages = options.pop("num_warps", None), options.pop("num_stages", None)
        self.launches.append(
            Recorded(
                kernel=kernel,
                arguments=arguments,
                constexprs=frozenset(name for name, kind in bound.types.items() if kind == "constexpr"),
                tensors={name: facts_of(tensor) for name, tensor in tensors.items()},
                grid=grid,
                num_warps=_DEFAULT_WARPS if warps is None else int(warps),
                num_stages=_DEFAULT_STAGES if stages is None else int(stages),
                options=options,
                values=tensors if self._keep else {},
            )
        )


def _argument(name: str, value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if private.is_constexpr(value):
        return value.value
    if isinstance(value, torch.Tensor):
        tensors[name] = value
        return CompilePointer(dtype=_name_of(value.dtype), divisible16=value.data_ptr() % 16 == 0)
    if isinstance(value, private.TensorDescriptor):
        tensors[name] = value.base
        return DescriptorFacts(
            base=facts_of(value.base),
            shape=tuple(value.shape),
            strides=tuple(value.strides),
            block_shape=tuple(value.block_shape),
            padding=getattr(value, "padding", "zero"),
        )
    if isinstance(value, tuple):
        return tuple(_argument(f"{name}[{at}]", part, tensors) for at, part in enumerate(value))
    base = getattr(value, "base", None)
    if isinstance(base, torch.Tensor):  # triton.reinterpret: the same memory under another type
        tensors[name] = base
        return CompilePointer(dtype=str(value.dtype), divisible16=base.data_ptr() % 16 == 0)
    return value
