"""torch.cuda and device="cuda" where there is no CUDA: tensors stay on the CPU, and code written for a device
is answered as if there were one.

Only what host code calls on its way to a launch is answered. Work that would need a device (cuBLAS, NCCL,
graphs) fails in PyTorch's own words.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
import torch.utils._device
from torch.overrides import TorchFunctionMode

from verify.triton_cpu.host.device import Device, torch_properties
from verify.triton_cpu.host.patches import Patches

_HOST = torch.device("cpu")


def _mapped(value: Any) -> Any:
    """The CPU for any way to write a CUDA device, anything else unchanged."""
    if isinstance(value, str) and value.split(":")[0] == "cuda":
        return "cpu"
    if isinstance(value, torch.device) and value.type == "cuda":
        return _HOST
    return value


def _default_is_cuda() -> bool:
    current = torch.utils._device.CURRENT_DEVICE
    return current is not None and current.type == "cuda"


# What a tensor says of its place, and what it says instead. PyTorch's own code and ours are told the truth.
_SAYINGS: dict[Any, Callable[[Any], Any]] = {
    torch.Tensor.device.__get__: lambda device: torch.device("cuda", 0) if device.type == "cpu" else device,
    torch.Tensor.is_cuda.__get__: lambda _: True,
    torch.Tensor.is_cpu.__get__: lambda _: False,
    torch.Tensor.get_device: lambda _: 0,
}
_STAYS = frozenset((torch.Tensor.cuda, torch.Tensor.pin_memory, torch.Tensor.record_stream))
_INSIDE = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))


def _asked_from_inside() -> bool:
    """Whether PyTorch or we read the tensor's attribute; `with torch.device(...)` may stand between."""
    asker: FrameType | None = sys._getframe(2)
    while asker is not None and asker.f_code.co_filename == torch.utils._device.__file__:
        asker = asker.f_back
    return asker is not None and asker.f_code.co_filename.startswith(_INSIDE)


class CudaToCpu(TorchFunctionMode):
    """Sends every request for a CUDA device to the CPU, and lets CPU tensors say that they are on one.

    `addressed` hears of every tensor whose address library code asks for.
    """

    def __init__(self, addressed: Callable[[torch.Tensor], None]) -> None:
        super().__init__()
        self._addressed = addressed

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in _SAYINGS:
            truth = func(*args, **given)
            return truth if _asked_from_inside() else _SAYINGS[func](truth)
        if func is torch.Tensor.data_ptr:
            self._addressed(args[0])
        if func is torch.Tensor.backward:
            return self._backward(*args, **given)
        if func in _STAYS:
            return args[0]
        if given.get("pin_memory"):
            given = {**given, "pin_memory": False}
        if "device" in given:
            given = {**given, "device": _mapped(given["device"])}
        elif func is torch.Tensor.to and len(args) > 1:
            args = (args[0], *(_mapped(part) for part in args[1:]))
        if (
            given.get("device") is None
            and _default_is_cuda()
            # `with torch.device("cuda")` sits below every other mode, so its default must not be reached
            and func in torch.utils._device._device_constructors()
        ):
            given = {**given, "device": _HOST}
        return func(*args, **given)

    def _backward(
        self,
        tensor: torch.Tensor,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Tensor.backward in this mode: PyTorch leaves it for the call, and kernels are launched in there."""
        with self:
            torch.autograd.backward(tensor, gradient, retain_graph, create_graph, inputs=inputs)


class _Stream:
    """A stream on which everything is done when the call returns."""

    cuda_stream = 0
    device_index = 0

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        self.device = torch.device("cuda", 0)

    def synchronize(self) -> None:
        """Nothing is ever pending."""

    def wait_stream(self, _other: Any) -> None:
        """Nothing is ever pending."""

    wait_event = wait_stream

    def record_event(self, event: Any = None) -> Any:
        return event or _Event()

    def query(self) -> bool:
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Streams nest without effect."""


class _Event:
    """An event that has always happened. It measures nothing."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        pass

    def record(self, *_stream: Any) -> None:
        """It has happened."""

    synchronize = wait = record

    def query(self) -> bool:
        return True

    def elapsed_time(self, _other: Any) -> float:
        raise RuntimeError(
            "expected no timing: kernels run in an interpreter here, so there is no time to report"
        )


# Every answer is an object of its own: PyTorch's compiler keeps a table of these functions and refuses one
# that occurs twice.


def _nothing() -> Callable[..., None]:
    """A function that needs a device and returns nothing."""
    return lambda *_arguments, **_options: None


def _constant(value: Any) -> Callable[..., Any]:
    return lambda *_arguments, **_options: value


def _here() -> type:
    """`torch.cuda.device(...)` and its like: there is one device."""

    class Here(contextlib.nullcontext[None]):
        def __init__(self, *_arguments: Any, **_options: Any) -> None:
            super().__init__()
            self.idx = 0

    return Here


def _uncompiled(function: Any = None, **_options: Any) -> Any:
    """torch.compile that compiles nothing: a compiler would trace into the interpreter."""
    return (lambda given: given) if function is None else function


def _answers(device: Device) -> dict[str, Any]:
    stream = _Stream()
    constants: dict[str, Any] = {
        "is_available": True,
        "is_initialized": True,
        "is_bf16_supported": True,
        "device_count": 1,
        "current_device": 0,
        "memory_allocated": 0,
        "max_memory_allocated": 0,
        "memory_reserved": 0,
        "mem_get_info": (device.memory, device.memory),
        "get_device_capability": device.capability,
        "get_device_name": device.name,
        "get_device_properties": torch_properties(device),
        "current_stream": stream,
        "default_stream": stream,
    }
    silent = (
        *("init", "set_device", "synchronize", "empty_cache", "ipc_collect", "manual_seed"),
        *("manual_seed_all", "reset_peak_memory_stats", "set_stream"),
    )
    return {
        **{name: _constant(value) for name, value in constants.items()},
        **{name: _nothing() for name in silent},
        **{name: _here() for name in ("device", "device_of", "stream")},
        "get_rng_state": lambda *_device: torch.get_rng_state(),
        "set_rng_state": lambda state, *_device: torch.set_rng_state(state),
        "Stream": _Stream,
        "Event": _Event,
    }


@contextlib.contextmanager
def cuda_answered(device: Device, addressed: Callable[[torch.Tensor], None]) -> Iterator[None]:
    """Until the end, PyTorch speaks of `device`, and torch.compile returns what it is given.

    `addressed` hears of tensors whose address is asked for.
    """
    patches = Patches()
    try:
        for name, value in _answers(device).items():
            patches.set(torch.cuda, name, value)
        patches.set(torch, "compile", _uncompiled)
        # so that torch.autograd.grad stays in the mode, too
        patches.set(torch.autograd, "has_torch_function", lambda _arguments: False)
        with CudaToCpu(addressed):
            yield
    finally:
        patches.undo()
