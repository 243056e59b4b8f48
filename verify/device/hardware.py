"""The machine under a worker: which device it is, its clock and its events, and how its errors read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from triton.errors import TritonError

from verify.device.facts import slug_of
from verify.sandbox.wire import Refusal
from verify.triton_cpu.interpreter.launch import load_kernels

FLUSH_BYTES = 256 << 20
"""Written between batches: more than any L2 cache that facts.py knows."""

CPU_FLUSH_BYTES = 64 << 20
"""The same where only the clock is exercised; a CPU's caches are not all smaller."""


def describe(device: str) -> dict[str, Any]:
    """Name, slug, and what the driver says about `device` ("cuda:0" or "cpu").

    Raises Refusal where there is no such device.
    """
    if device == "cpu":
        return {
            "name": "cpu",
            "slug": "cpu",
            "capability": None,
            "memory_bytes": None,
            "l2_bytes": None,
            "multiprocessors": None,
            "bus_bits": None,
            "memory_hertz": None,
            "cuda": None,
            "driver": None,
        }
    if not torch.cuda.is_available():
        built = torch.version.cuda or "no CUDA"
        raise Refusal(
            "NO-DEVICE",
            f"expected a CUDA device, got none (torch {torch.__version__} is built for {built})",
        )
    found = torch.cuda.get_device_properties(device)
    return {
        "name": found.name,
        "slug": slug_of(found.name),
        "capability": f"{found.major}.{found.minor}",
        "memory_bytes": int(found.total_memory),
        "l2_bytes": _positive(found, "L2_cache_size"),
        "multiprocessors": _positive(found, "multi_processor_count"),
        "bus_bits": _positive(found, "memory_bus_width"),
        # kHz in CUDA's structure, which newer versions no longer have
        "memory_hertz": (_positive(found, "memory_clock_rate") or 0) * 1000 or None,
        "cuda": torch.version.cuda,
        "driver": _driver_version(),
    }


_PROBE = """
@triton.jit
def probe(x_ptr, y_ptr, count, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + i, 2.0 * tl.load(x_ptr + i, mask=i < count) + 1.0, mask=i < count)
"""


def probe(device: str) -> None:
    """Compile, launch and check a kernel of ours, so that what fails later is the candidate's doing.

    Raises Refusal with what is missing: a driver, a C compiler, a place for compiled kernels.
    """
    x = torch.arange(1000, dtype=torch.float32, device=device)
    y = torch.zeros_like(x)
    try:
        load_kernels(_PROBE, "<probe>")["probe"][8, 1, 1](x, y, 1000, BLOCK=128)
        found = y.cpu()
    except Exception as error:  # noqa: BLE001  whatever it is, it says why there is no measurement here
        said = f"{type(error).__name__}: {_first(error)}"
        raise Refusal("NO-DEVICE", f"expected a kernel of ours to run on {device}, got {said}") from None
    if not torch.equal(found, 2.0 * torch.arange(1000, dtype=torch.float32) + 1.0):
        raise Refusal("NO-DEVICE", f"a kernel of ours gave a wrong result on {device}")


def _positive(properties: Any, name: str) -> int | None:
    value = getattr(properties, name, None)
    return int(value) if value else None


def _driver_version() -> str | None:
    """The kernel module's version; None where the container does not show it."""
    with contextlib.suppress(OSError):
        return Path("/sys/module/nvidia/version").read_text(encoding="ascii").strip()
    return None


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """What a device or its compiler says against a kernel, as a refusal.

    After a memory fault CUDA answers every further call with the same error: the worker is of no use then,
    and every later case says so.
    """
    try:
        yield
    except Refusal:
        raise
    except torch.OutOfMemoryError as error:
        raise Refusal("NUM-WORK-LIMIT", f"the device's memory is too small: {_first(error)}") from None
    except (RuntimeError, TritonError) as error:
        said = f"{type(error).__name__}: {_first(error)}"
        if "illegal" in said or "misaligned" in said or "device-side assert" in said:
            raise Refusal("MEM-DEVICE-FAULT", f"the device stopped a kernel: {said}") from None
        raise Refusal("NUM-KERNEL-ERROR", f"a kernel cannot run on the device: {said}") from None


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:500]


class CudaDevice:
    """The clock's view of a CUDA device; times in seconds."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._scratch = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=device)

    def now(self) -> float:
        return time.perf_counter()

    def synchronize(self) -> None:
        torch.cuda.synchronize(self.device)

    def mark(self) -> Any:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def elapsed(self, start: Any, end: Any) -> float:
        return float(start.elapsed_time(end)) / 1000.0

    def flush(self) -> None:
        self._scratch.zero_()


class CpuDevice:
    """The clock's view of a CPU, where a call has ended when it returns."""

    def __init__(self) -> None:
        self.device = "cpu"
        self._scratch = torch.empty(CPU_FLUSH_BYTES, dtype=torch.uint8)

    def now(self) -> float:
        return time.perf_counter()

    def synchronize(self) -> None:
        """Nothing is under way."""

    def mark(self) -> float:
        return time.monotonic()

    def elapsed(self, start: float, end: float) -> float:
        return end - start

    def flush(self) -> None:
        self._scratch.zero_()


def device_for(name: str) -> CudaDevice | CpuDevice:
    """The clock's device for "cuda:0" or "cpu"."""
    return CpuDevice() if name == "cpu" else CudaDevice(name)
