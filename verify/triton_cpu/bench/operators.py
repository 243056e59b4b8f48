"""Operators of published libraries as tapes: run once through the torch host, each launch written down.

What a library's own launcher chooses (the first of its tunings, grid, strides) is in the tape, so both sides
run exactly that. A dot of float32 whose precision a kernel leaves open is exact here, as it is in the
interpreter that Triton ships.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from verify.triton_cpu import private
from verify.triton_cpu.bench.tape import (
    ArgumentValue,
    DtypeArg,
    KernelName,
    TapeLaunch,
    TapeWriter,
    TensorArg,
)
from verify.triton_cpu.compiler.compile import CompilePointer
from verify.triton_cpu.host import Host, Options, Recording, TensorFacts, attach
from verify.triton_cpu.host.shadows import bytes_of
from verify.triton_cpu.interpreter.handles import TYPES
from verify.triton_cpu.packages import kernel_module
from verify.triton_cpu.private import JITFunction

SEED = 1

Call = Callable[[Mapping[str, int], torch.dtype], None]


def _drawn(shape: tuple[int, ...], dtype: torch.dtype, scale: float = 1.0) -> torch.Tensor:
    return (torch.randn(shape) * scale).to(dtype).requires_grad_()


def _gates(shape: tuple[int, ...]) -> torch.Tensor:
    """log_sigmoid of a normal, as models have it."""
    return torch.nn.functional.logsigmoid(torch.randn(shape)).requires_grad_()


def _sequences(
    shape: Mapping[str, int], dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows = (shape["B"], shape["T"], shape["H"])
    k, v = shape["K"], shape["V"]
    return _drawn((*rows, k), dtype), _drawn((*rows, k), dtype, k**-0.5), _drawn((*rows, v), dtype)


def _simple_gla(shape: Mapping[str, int], dtype: torch.dtype) -> None:
    operator = kernel_module("fla.ops.simple_gla").chunk_simple_gla
    gates = _gates((shape["B"], shape["T"], shape["H"]))
    operator(*_sequences(shape, dtype), gates)[0].sum().backward()


def _gated(shape: Mapping[str, int], dtype: torch.dtype) -> None:
    operator = kernel_module("fla.ops.gla").chunk_gla
    gates = _gates((shape["B"], shape["T"], shape["H"], shape["K"]))
    operator(*_sequences(shape, dtype), gates)[0].sum().backward()


def _attention(shape: Mapping[str, int], dtype: torch.dtype) -> None:
    kernel_module("fla.ops.attn").parallel_attn(*_sequences(shape, dtype)).sum().backward()


def _state_space(shape: Mapping[str, int], dtype: torch.dtype) -> None:
    operator = kernel_module("mamba_ssm.ops.triton.ssd_combined").mamba_chunk_scan_combined
    rows = (shape["B"], shape["T"])
    x, steps = _drawn((*rows, shape["H"], shape["V"]), dtype), torch.rand(*rows, shape["H"]).requires_grad_()
    decay = (-torch.rand(shape["H"])).requires_grad_()
    b, c = _drawn((*rows, 1, shape["K"]), dtype), _drawn((*rows, 1, shape["K"]), dtype, shape["K"] ** -0.5)
    operator(x, steps, decay, b, c, chunk_size=64).sum().backward()


_CALLS: dict[str, Call] = {
    "mamba-ssm chunk_scan_combined": _state_space,
    "fla chunk_simple_gla": _simple_gla,
    "fla chunk_gla": _gated,
    "fla parallel_attn": _attention,
}
OPERATORS = tuple(_CALLS)


class NotTaped(Exception):
    """A launch that a tape cannot hold; the message says which argument it was."""


class _Recording(Recording):
    """Writes every launch down before it runs, with the bytes that it starts from."""

    def __init__(self, writer: TapeWriter, host: Host) -> None:
        super().__init__(keep=True)
        self._writer, self._host = writer, host

    def add(self, kernel: JITFunction, bound: private.Bound, grid: tuple[int, int, int]) -> None:
        super().add(kernel, bound, grid)
        launch = self.launches.pop()
        storages: dict[int, torch.Tensor] = {}
        for tensor in launch.values.values():
            storages.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        order = list(storages)
        function = private.captured_source(kernel)
        arguments = tuple(
            (name, _argument(name, value, launch.tensors, launch.values, order))
            for name, value in launch.arguments.items()
        )
        data = [bytes_of(tensor.untyped_storage()).copy() for tensor in storages.values()]
        shadows = [self._host.shadows.find(tensor) for tensor in storages.values()]
        written = [
            np.ones(held.size, np.bool_) if shadow is None else shadow.written.copy()
            for held, shadow in zip(data, shadows, strict=True)
        ]
        name = KernelName(place=function.__module__, name=function.__name__, is_file=False)
        launched = TapeLaunch(kernel=name, grid=grid, arguments=arguments, storages=len(order))
        self._writer.add(launched, data, written)


def _argument(
    name: str,
    value: Any,
    facts: Mapping[str, TensorFacts],
    tensors: Mapping[str, torch.Tensor],
    order: list[int],
) -> ArgumentValue:
    if isinstance(value, CompilePointer):
        fact = facts[name]
        return TensorArg(
            storage=order.index(tensors[name].untyped_storage().data_ptr()),
            dtype=str(fact.dtype).removeprefix("torch."),
            shape=fact.shape,
            strides=fact.stride,
            offset=fact.offset,
        )
    for dtype, kind in TYPES.items():
        if value is kind or (isinstance(value, type(kind)) and value == kind):
            return DtypeArg(name=dtype)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise NotTaped(f"expected tensors, numbers, names and dtypes, got {name} of type {type(value).__name__}")


def record_operator(name: str, shape: Mapping[str, int], dtype: str, folder: Path) -> None:
    """Write the tape of one forward and backward of an operator; `shape` has B, T, H, K and V.

    Raises ModuleNotFoundError where its library is not installed, NotTaped for launches that a tape cannot
    hold, and what the operator raises.
    """
    torch.manual_seed(SEED)
    writer = TapeWriter(folder)
    with attach(Options(record=True)) as host:
        host.recording = _Recording(writer, host)
        _CALLS[name](shape, getattr(torch, dtype))
    writer.close()
