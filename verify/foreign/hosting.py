"""The one place where foreign code meets the host: settings in, events and launches out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from verify.triton_cpu.host import Host, Options, attach
from verify.triton_cpu.host.tuning import Policy
from verify.triton_cpu.interpreter.launch import WorkLimits
from verify.triton_cpu.private import Autotuner


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something wrong with memory: `file` and `line` in the library, `offset` in elements of `buffer`, an
    argument, and the `program` (x, y, z) that did it first. A PyTorch operator's read has no program. Where
    two accesses are involved, `other_line` and `other_program` are those of the other.
    """

    kind: str
    kernel: str
    file: str
    line: int
    buffer: str = ""
    offset: int = 0
    program: tuple[int, int, int] | None = None
    other_line: int = 0
    other_program: tuple[int, int, int] | None = None


@dataclass(kw_only=True)
class Watch:
    """What a run left behind; filled when the context ends."""

    events: list[Event] = field(default_factory=list)
    launches: list[Any] = field(default_factory=list)
    float_atomics: tuple[str, ...] = ()
    """Kernels that add floats atomically, with file and line."""


@contextlib.contextmanager
def watched(
    *,
    poison: int,
    exact: bool,
    order: Literal["forward", "reverse"],
    policy: Policy,
    sanitizer: bool,
    loop_steps: int,
) -> Iterator[Watch]:
    """Launches in the context run in the interpreter.

    A launch may take `loop_steps` steps. `exact` makes float32 dots IEEE where the kernel leaves the
    precision open, whose default is TF32.
    """
    watch = Watch()
    options = Options(
        poison=poison,
        order=order,
        policy=policy,
        sanitize=sanitizer,
        overflow=True,
        limits=WorkLimits(programs=1 << 20, loop_steps=loop_steps),
        record=True,
        default_precision="ieee" if exact else None,
    )
    with attach(options) as host:
        try:
            yield watch
        finally:
            _collect(watch, host)


@contextlib.contextmanager
def dry(policy: Policy = "first", *, keep: bool = False) -> Iterator[Watch]:
    """Launches in the context are recorded and not run, at whatever size; `policy` chooses for autotuners.

    With `keep` the launches hold their tensors, whose integers a kernel may follow.
    """
    watch = Watch()
    with attach(Options(sanitize=False, record=True, keep=keep, execute=False, policy=policy)) as host:
        try:
            yield watch
        finally:
            watch.launches = list(host.recording.launches)


def configurations(launch: Any) -> int:
    """How many configurations an autotuner has for this launch's kernel; 1 where there is none."""
    function = launch.kernel.fn
    found = function.__globals__.get(function.__name__)
    while found is not None and not isinstance(found, Autotuner):
        found = getattr(found, "fn", None)  # heuristics lie around an autotuner, or inside it
    return 1 if found is None else len(found.configs)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Libraries ask for the device when they are imported."""
    with attach(Options(sanitize=False)):
        yield


def _collect(watch: Watch, host: Host) -> None:
    launches = host.recording.launches
    files = {one.kernel.__name__: Path(one.kernel.fn.__code__.co_filename).name for one in launches}
    watch.launches = list(launches)
    watch.events = [
        Event(
            kind=event.kind,
            kernel=event.kernel,
            file=files.get(event.kernel, ""),
            line=event.line,
            buffer=event.argument or event.buffer,
            offset=event.offset,
            program=event.program,
            other_line=event.other_line,
            other_program=event.other_program,
        )
        for event in host.events
    ]
    watch.events += [
        Event(
            kind="never-written read",
            kernel=f"torch.{read.operator}",
            file=Path(read.file).name,
            line=read.line,
        )
        for read in host.torch_reads
    ]
    watch.float_atomics = tuple(
        f"{name} ({files.get(name, '')}:{line})"
        for name, row in sorted(host.counters.kernels.items())
        for line in sorted(row.float_atomics)
    )
