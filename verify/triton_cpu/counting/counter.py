"""Count what launches do, at real sizes: a few programs run, one at a time, on memory that is hardly there.

A launch is a kernel, its arguments and its grid; whatever recorded it, a plan or a library's wrapper, its
tensors are views of storages (`verify.triton_cpu.counting.storages`). Values are zeros unless a storage holds
contents, so a kernel whose control flow depends on floating-point values is counted for zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from verify.triton_cpu import private
from verify.triton_cpu.counting.counts import Counts, LaunchCounts, ProgramCounts, Violation
from verify.triton_cpu.counting.grid_axes import watched_divisions
from verify.triton_cpu.counting.sampling import Sample, digits_of, draw_sample
from verify.triton_cpu.counting.storages import TensorView, lazy_zeros
from verify.triton_cpu.counting.traffic import Traffic
from verify.triton_cpu.interpreter.launch import Counters, PointerArg, WorkLimits, language, run_launch
from verify.triton_cpu.memory.arena import Buffer, Memory, MemoryEvent
from verify.triton_cpu.private import JITFunction

SAMPLED = 24
"""Programs of a launch that are run, where a caller does not say."""

LEAST_SAMPLED = 8
STEP_BUDGET = 2048
"""Loop steps that the sampled programs of a launch take together, about; it lowers their number."""

_ALIKE, _LONG = 5, 64
"""So many programs that count the same, the outermost among them, speak for all where they are long."""

LIMITS = WorkLimits(launches=1, programs=1 << 62, loop_steps=1 << 18)
"""For one program."""

Argument = TensorView | int | float | bool | str | None


@dataclass(frozen=True, kw_only=True)
class CountedLaunch:
    """A launch to count: `arguments` by parameter name, constexprs included."""

    kernel: JITFunction
    arguments: Mapping[str, Argument]
    grid: tuple[int, int, int]


class _Memory(Memory):
    """The storages as one launch sees them: a buffer for each tensor argument, under the parameter's name."""

    def __init__(self, views: Mapping[str, TensorView], traffic: Traffic | None) -> None:
        super().__init__()
        self.recorder = traffic
        for name, view in views.items():
            storage = view.storage
            buffer = Buffer(name, storage.base, storage.nbytes, storage.data, lazy_zeros(storage.nbytes))
            buffer.complete = True  # nothing was drawn, so nothing is missing
            self._buffers[name] = buffer

    def _keep(self, buffer: Buffer) -> None:
        """Nothing: programs run once, one by one, and a copy would take the memory that is not there."""

    def close(self) -> None:
        """Let go of buffers and stamps now: a memory refers to itself, and would wait for the collector."""
        self.recorder = None
        self._buffers.clear()


def count_launches(
    launches: Sequence[CountedLaunch],
    *,
    programs: int | None = SAMPLED,
    seed: int = 0,
    limits: WorkLimits = LIMITS,
) -> list[LaunchCounts]:
    """Every launch in turn, see `count_launch`."""
    return [count_launch(one, programs=programs, seed=seed, limits=limits) for one in launches]


def count_launch(
    launch: CountedLaunch,
    *,
    programs: int | None = SAMPLED,
    seed: int = 0,
    limits: WorkLimits = LIMITS,
    between: Callable[[], None] = lambda: None,
) -> LaunchCounts:
    """Count one launch by at most `programs` of its programs, or by all of them (None).

    All are run where there are not twice as many. Else work is estimated for the whole grid with the sample's
    weights. What programs store lands in the storages. `limits` hold for one program; `between` is called
    after each. Raises KernelError for a kernel that cannot run, WorkLimitExceeded for a program that does too
    much.
    """
    sample, steps = _sample(launch, programs, seed, limits)
    views = {name: value for name, value in launch.arguments.items() if isinstance(value, TensorView)}
    long = steps >= _LONG
    traffic = Traffic(views, boxed=long or not sample.complete)
    memory = _Memory(views, traffic)
    rows: list[ProgramCounts] = []
    moved: list[dict[str, tuple[int, int, int, int]]] = []
    for number, weight in _outermost_first(sample):
        traffic.begin_program()
        counters = _run(launch, memory, number, limits)
        traffic.end_program()
        moved.append(traffic.argument_bytes())
        counts = Counts(**{**traffic.program_counts(), **_work(counters)})
        rows.append(ProgramCounts(program=_place(number, launch.grid), weight=weight, counts=counts))
        between()
        if long and len(rows) == _ALIKE and _all_alike(rows, moved):
            rows = [replace(row, weight=sum(sample.weights) / len(rows)) for row in rows]
            break
    memory.close()
    complete = sample.complete and len(rows) == len(sample.numbers)
    weighted = [(row.weight, part) for row, part in zip(rows, moved, strict=True)]
    arguments = traffic.finished(weighted, complete=complete)
    total = Counts.total([(row.counts, row.weight) for row in rows]).rounded()
    return LaunchCounts(
        kernel=private.captured_source(launch.kernel).__name__,
        grid=launch.grid,
        sampled=len(rows),
        complete=complete,
        counts=_with_unique(total, arguments),
        arguments=arguments,
        programs=tuple(rows),
        violations=tuple(_violation(event) for event in memory.events),
    )


def _violation(event: MemoryEvent) -> Violation:
    what = event.buffer or "an unknown buffer"
    message = f"{event.kind} of {what} at element {event.offset} by program {event.program}"
    return Violation(kind=event.kind, line=event.line, message=message)


def _all_alike(rows: Sequence[ProgramCounts], moved: Sequence[object]) -> bool:
    return all(row.counts == rows[0].counts for row in rows) and all(part == moved[0] for part in moved)


def _with_unique(total: Counts, arguments: Sequence[Any]) -> Counts:
    """The launch's sums, with unique bytes of the whole grid instead of those of its programs, added up."""
    fields = {name: getattr(total, name) for name in Counts.__dataclass_fields__}
    fields["unique_loaded"] = sum(argument.unique_loaded for argument in arguments)
    fields["unique_stored"] = sum(argument.unique_stored for argument in arguments)
    return Counts(**fields)


def _work(counters: Counters) -> dict[str, Any]:
    """Fields of `Counts` about arithmetic."""
    return {
        "dot_flops": dict(counters.dot_types),
        "fp32_flops": counters.elementwise_flops,
        "special_ops": counters.transcendental,
        "loop_steps": counters.loop_steps,
    }


def _run(launch: CountedLaunch, memory: _Memory, number: int, limits: WorkLimits) -> Counters:
    """One program, by itself: its counters are its own."""
    arguments = {name: _kernel_argument(name, value, memory) for name, value in launch.arguments.items()}
    counters = Counters()
    run_launch(
        launch.kernel,
        arguments,
        grid=launch.grid,
        arena=memory,
        counters=counters,
        limits=limits,
        order=(number,),
    )
    return counters


def _kernel_argument(name: str, value: Argument, memory: _Memory) -> Any:
    if isinstance(value, TensorView):
        return PointerArg(buffer=memory[name], byte_offset=value.offset * value.itemsize, dtype=value.dtype)
    return value


def _place(number: int, grid: tuple[int, int, int]) -> tuple[int, int, int]:
    return number % grid[0], number // grid[0] % grid[1], number // (grid[0] * grid[1])


# -- which programs ------------------------------------------------------------------------------------------


def _sample(launch: CountedLaunch, programs: int | None, seed: int, limits: WorkLimits) -> tuple[Sample, int]:
    """Which programs to run, and the loop steps of one; where not all run, the last one is watched first.

    It shows how the grid is laid out, and how long a program is: of long ones fewer are run.
    """
    size = launch.grid[0] * launch.grid[1] * launch.grid[2]
    if programs is None or size <= LEAST_SAMPLED:
        return draw_sample([(axis,) for axis in launch.grid], max(LEAST_SAMPLED, size), seed), 0
    views = {name: value for name, value in launch.arguments.items() if isinstance(value, TensorView)}
    memory = _Memory(views, None)
    with watched_divisions(language().builder) as cuts:
        steps = _run(launch, memory, size - 1, limits).loop_steps
    memory.close()
    axes = [digits_of(axis, cut) for axis, cut in zip(launch.grid, cuts, strict=True)]
    count = max(LEAST_SAMPLED, min(programs, STEP_BUDGET // max(1, steps)))
    return draw_sample(axes, count, seed), steps


def _outermost_first(sample: Sample) -> list[tuple[int, float]]:
    """Numbers and weights, the first and the last program before those between, which are spread out."""
    pairs = list(zip(sample.numbers, sample.weights, strict=True))
    if len(pairs) < 3:
        return pairs
    inner = pairs[1:-1]
    middle = len(inner) // 2
    spread = [pair for both in zip_longest(inner[middle:], inner[:middle]) for pair in both if pair]
    return [pairs[0], pairs[-1], *spread]
