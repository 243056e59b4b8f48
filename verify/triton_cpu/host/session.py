"""Attach the interpreter to Triton: from here on, launches of unmodified code run on its own tensors."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from verify.errors import InfrastructureError
from verify.triton_cpu import private
from verify.triton_cpu.host.binding import arguments
from verify.triton_cpu.host.cuda import cuda_answered
from verify.triton_cpu.host.device import H100, Device, Driver
from verify.triton_cpu.host.memory import TorchMemory
from verify.triton_cpu.host.patches import Patches
from verify.triton_cpu.host.recording import Recording
from verify.triton_cpu.host.shadows import Shadows
from verify.triton_cpu.host.tracking import TorchRead, Tracker
from verify.triton_cpu.host.tuning import Policy, Tuner, tolerant_init
from verify.triton_cpu.interpreter.launch import (
    Counters,
    KernelError,
    Order,
    WorkLimitExceeded,
    WorkLimits,
    run_launch,
)
from verify.triton_cpu.memory.arena import MemoryEvent
from verify.triton_cpu.private import Autotuner, JITFunction
from verify.triton_cpu.selftest import runner

_LARGEST_GRID = (2**31 - 1, 65535, 65535)
"""CUDA refuses to launch more (CUDA C++ programming guide, table of compute capabilities)."""
_TOO_MUCH = (
    "expected at most {most} {what} in a launch, got more. A wait for another program never ends here, since "
    "programs run one after another; for real work raise Options.limits."
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How kernels run.

    `sanitize` watches memory: poison and never-written reads across launches and PyTorch's operations,
    conflicts between programs, and offsets that wrap. `overflow` watches the last of these alone, which takes
    no memory and so suits tensors beyond 2^31 elements. Accesses outside of a storage are events in any case.
    `poison` is the byte that fills empty memory (0xFF reads as NaN). `limits` hold for each launch. `record`
    keeps what was launched, `keep` its tensors too. `default_precision` replaces what `tl.dot` of float32
    does where a kernel does not say ("ieee", "tf32"; None: as the device, TF32); it holds for compiling as
    well. Without `execute` launches are recorded at most, and results stay as the caller allocated them.
    """

    device: Device = H100
    policy: Policy = "first"
    seed: int = 0
    sanitize: bool = True
    overflow: bool = False
    poison: int = 0xFF
    limits: WorkLimits = field(default_factory=lambda: WorkLimits(programs=1 << 20, loop_steps=1 << 20))
    order: Order = "forward"
    record: bool = False
    default_precision: str | None = None
    keep: bool = False
    execute: bool = True


class Host:
    """One attachment: what ran, and what was wrong with it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.shadows = Shadows(options.poison)
        self.tracker = Tracker(self.shadows)
        self.memory = TorchMemory(self.shadows, views=options.sanitize)
        self.counters = Counters()
        self.recording = Recording(keep=options.keep)
        self._running = False

    @property
    def events(self) -> tuple[MemoryEvent, ...]:
        """What kernels did to memory that they must not, in order of first occurrence."""
        return self.memory.events

    @property
    def torch_reads(self) -> tuple[TorchRead, ...]:
        """Operators of PyTorch that read what was never written."""
        return self.tracker.reads

    def forget(self) -> None:
        """Start over: no events, no counts, no recorded launches. Shadows stay."""
        self.memory.forget_events()
        self.tracker.forget()
        self.counters = Counters()
        self.recording = Recording(keep=self.options.keep)

    def run(self, kernel: JITFunction, args: tuple[Any, ...], kwargs: dict[str, Any], grid: Any) -> None:
        """Run a launch of `kernel[grid](*args, **kwargs)` on the tensors it was given.

        Raises what Triton raises for arguments that do not bind; KernelError for a kernel that cannot run
        here, one that waits for another program or does too much among them.
        """
        if kernel.is_gluon():
            raise self._refused(
                kernel, "expected a Triton kernel, got a Gluon one: it says how a device does its work"
            )
        for hook in kernel.pre_run_hooks:
            hook(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            bound = private.bind(kernel, args, kwargs)
        extent = self._grid(kernel, grid(bound.values) if callable(grid) else grid)
        if self.options.record:
            self.recording.add(kernel, bound, extent)
        if 0 in extent or not self.options.execute:
            return
        counters, limits = self.counters, self.options.limits
        allowed = WorkLimits(
            launches=counters.launches + 1,
            programs=counters.programs + limits.programs,
            loop_steps=counters.loop_steps + limits.loop_steps,
            wait_steps=limits.wait_steps,
        )
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            self.memory.forget_arguments()
            try:
                run_launch(
                    kernel,
                    arguments(bound, self.memory.argument),
                    grid=extent,
                    arena=self.memory,
                    counters=counters,
                    limits=allowed,
                    order=self.options.order,
                    conflicts=self.options.sanitize,
                    overflow=self.options.sanitize or self.options.overflow,
                )
            except WorkLimitExceeded as limit:
                known = {"programs": limits.programs, "loop steps": limits.loop_steps}
                most = known.get(limit.what, limit.limit)
                raise self._refused(kernel, _TOO_MUCH.format(what=limit.what, most=most)) from limit

    def _refused(self, kernel: JITFunction, message: str) -> KernelError:
        return KernelError(message, kernel=kernel.__name__, line=kernel.starting_line_number)

    def _grid(self, kernel: JITFunction, grid: Any) -> tuple[int, int, int]:
        extents = [int(extent) for extent in grid]
        extents += [1] * (3 - len(extents))
        for axis, (extent, most) in enumerate(zip(extents, _LARGEST_GRID, strict=True)):
            if not 0 <= extent <= most:
                raise self._refused(
                    kernel,
                    f"expected 0 to {most} programs along axis {axis} of the grid, got {extent}. "
                    "Put the long dimension on axis 0.",
                )
        return extents[0], extents[1], extents[2]


_ATTACHED: list[Host] = []


@functools.cache
def _selftest() -> tuple[str, ...]:
    """Known answers that are wrong, once for the process."""
    return tuple(runner.run())


@contextlib.contextmanager
def attach(options: Options | None = None) -> Iterator[Host]:
    """Run every Triton launch of this thread in the interpreter until the end of the context.

    Kernels stay what `triton.jit` made of them, and `.warmup` stays the real compiler. Modules that ask for
    the device when they are imported must be imported inside. Raises RuntimeError for a second attachment;
    InfrastructureError where Triton's own interpreter is switched on, or a known answer is wrong.
    """
    if _ATTACHED:
        raise RuntimeError("expected one attachment at a time, got a second. Leave the first before.")
    if private.stock_interpreter_is_on():
        raise InfrastructureError(
            "expected TRITON_INTERPRET to be unset, got 1: kernels would go to Triton's own interpreter. "
            "Unset it before Triton is imported."
        )
    if failures := _selftest():
        raise InfrastructureError(f"the interpreter's self-test fails: {'; '.join(failures)}")
    host = Host(options or Options())
    patches = Patches()
    previous = private.swap_driver(Driver(host.options.device))
    _ATTACHED.append(host)
    try:
        _redirect(host, patches)
        with contextlib.ExitStack() as stack:
            stack.enter_context(private.default_precision(host.options.default_precision))
            stack.enter_context(cuda_answered(host.options.device, host.memory.give_address))
            if host.options.sanitize:
                stack.enter_context(host.tracker)
            yield host
    finally:
        patches.undo()
        private.swap_driver(previous)
        _ATTACHED.clear()


def _redirect(host: Host, patches: Patches) -> None:
    compile_and_launch = JITFunction.run
    tuner = Tuner(host.options.policy, host.options.seed)

    @functools.wraps(compile_and_launch)
    def run(self: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        if warmup:
            return compile_and_launch(self, *args, grid=grid, warmup=True, **kwargs)
        return host.run(self, args, kwargs, grid)

    @functools.wraps(Autotuner.run)
    def run_tuned(self: Autotuner, *args: Any, **kwargs: Any) -> Any:
        return tuner.run(self, *args, **kwargs)

    patches.set(JITFunction, "run", run)
    patches.set(Autotuner, "run", run_tuned)
    patches.set(Autotuner, "__init__", tolerant_init(Autotuner.__init__))


def install(options: Options | None = None) -> tuple[Host, contextlib.ExitStack]:
    """Attach without a context; `close()` of what is returned second detaches."""
    stack = contextlib.ExitStack()
    return stack.enter_context(attach(options)), stack
