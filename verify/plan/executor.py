"""Run a launch plan in the instrumented interpreter. With the kernels, this is the only code that meets data.

Every buffer of the plan lies in one arena with guard zones; scratch starts poisoned and never-written. The
wrappers are not here: a plan is data, and fills and copies are ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from verify.dtypes import FORMATS, narrow, widen
from verify.plan.format import Argument, Copy, DtypeName, Fill, Launch, Plan, Step, TensorRef
from verify.plan.request import Layout
from verify.seeds import derive
from verify.triton_cpu.interpreter.launch import (
    Counters,
    Order,
    PointerArg,
    WorkLimits,
    language,
    load_kernels,
    run_launch,
)
from verify.triton_cpu.memory.arena import Arena, Buffer, MemoryEvent

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What came out of one run of a plan.

    `results` maps "output", "<state>" and "d_<tensor>" to raw contiguous storage; `uncovered` counts, for
    each result, the bytes that nothing wrote; `changed` names the arguments, and the results of forward, that
    a later step overwrote; `guards` names the buffers around which guard bytes changed.
    """

    results: dict[str, bytes]
    uncovered: dict[str, int]
    changed: tuple[str, ...]
    guards: tuple[str, ...]
    events: tuple[MemoryEvent, ...]
    counters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a plan is run, where the result must not depend on it, or must.

    `order` is the order of a launch's programs, which a device leaves open; `seed` draws it where it is
    `shuffled`. `omit` names a kernel whose launches are left out, to see what becomes of the results.
    `loose` rounds float32 as a device may, drawn from `seed`, where the interpreter is right to half a unit.
    """

    order: Literal["forward", "reverse", "shuffled"] = "forward"
    seed: int = 0
    omit: str | None = None
    loose: bool = False

    def programs(self, launch: int, count: int) -> Order:
        """The order of the `count` programs of the run's launch number `launch`."""
        if self.order != "shuffled":
            return self.order
        words = np.random.Philox(key=derive(self.seed, "order", launch)).random_raw(count)
        return tuple(int(index) for index in np.argsort(np.asarray(words), kind="stable"))


@dataclass(frozen=True, kw_only=True)
class PhaseRun:
    """What one phase (forward or backward) of a plan left: `results` as raw contiguous storage, `kept` as
    whole buffers.
    """

    results: tuple[bytes, ...]
    kept: dict[int, bytes]
    events: tuple[MemoryEvent, ...]


class PlanExecutor:
    """Executes plans of one mechanism. `source` holds only its `@triton.jit` functions, at their original
    lines.
    """

    def __init__(self, source: str, *, limits: WorkLimits) -> None:
        self._kernels = load_kernels(source, "<mechanism>")
        self._limits = limits

    def run(
        self,
        plan: Plan,
        arguments: Mapping[str, bytes | memoryview],
        names: tuple[tuple[str, ...], tuple[str, ...]],
        *,
        poison: int,
        way: Way | None = None,
        layouts: Mapping[str, Layout] | None = None,
    ) -> Execution:
        """Run forward, and backward if the plan has one.

        `arguments` holds the raw bytes of every argument buffer; `names` are the state names and the names of
        the gradients' tensors, in SPEC order; `poison` is the byte that unwritten scratch starts with.
        `layouts` says where in its buffer each argument lies: what is outside of it must not be read. Raises
        `WorkLimitExceeded` when the kernels do more work than the judge allows.
        """
        way = way or Way()
        arena, buffers = _lay_out(
            plan, {plan.argument(name): data for name, data in arguments.items()}, poison
        )
        for name, layout in (layouts or {}).items():
            _hide_gaps(buffers[plan.argument(name)], layout)
        before = _digests(plan, buffers)
        counters = Counters()
        with language().active():
            for step in plan.forward:
                self._step(step, arena, buffers, counters, conflicts=True, way=way)
            handed_out = {
                name: _bytes(buffers, ref) for name, ref in plan.results(*names) if not name.startswith("d_")
            }
            for step in plan.backward:
                self._step(step, arena, buffers, counters, conflicts=True, way=way)
        results, uncovered = {}, {}
        for name, ref in plan.results(*names):
            written = _written(buffers[ref.buffer], ref)
            results[name] = handed_out.get(name) or _bytes(buffers, ref)
            uncovered[name] = int(written.size - np.count_nonzero(written))
            if buffers[ref.buffer].stored_at is not None:
                missing = ~written.all(axis=-1).ravel()
                arena.report_uncovered(buffers[ref.buffer], name, missing)
        after = _digests(plan, buffers)
        changed = [name for name in before if before[name] != after[name]]
        changed += [
            name
            for name, ref in plan.results(*names)
            if handed_out.get(name, b"") not in (b"", _bytes(buffers, ref))
        ]
        return Execution(
            results=results,
            uncovered=uncovered,
            changed=tuple(sorted(changed)),
            guards=arena.damaged_guards(),
            events=arena.events,
            counters=asdict(counters),
        )

    def run_phase(
        self,
        plan: Plan,
        steps: Sequence[Step],
        contents: Mapping[int, bytes | memoryview],
        *,
        results: Sequence[TensorRef],
        keep: Collection[int],
        poison: int,
    ) -> PhaseRun:
        """Run `plan.forward` or `plan.backward` by itself, for a caller that holds the buffers in between.

        `contents` maps buffer ids to the bytes they start with (arguments; in backward also what forward
        kept); the other buffers start poisoned. Raises `WorkLimitExceeded`.
        """
        arena, buffers = _lay_out(plan, contents, poison)
        counters = Counters()
        with language().active():
            for step in steps:
                self._step(step, arena, buffers, counters)
        return PhaseRun(
            results=tuple(_bytes(buffers, ref) for ref in results),
            kept={index: buffers[index].bytes.tobytes() for index in keep},
            events=arena.events,
        )

    def _step(
        self,
        step: Step,
        arena: Arena,
        buffers: list[Buffer],
        counters: Counters,
        *,
        conflicts: bool = False,
        way: Way | None = None,
    ) -> None:
        way = way or Way()
        if isinstance(step, Launch):
            if step.kernel == way.omit:
                return
            values = {name: _kernel_argument(value, buffers) for name, value in step.arguments}
            run_launch(
                self._kernels[step.kernel],
                values,
                grid=step.grid,
                arena=arena,
                counters=counters,
                limits=self._limits,
                order=way.programs(counters.launches, step.programs),
                conflicts=conflicts,
                rounding=derive(way.seed, "rounding", counters.launches) if way.loose else None,
            )
            return
        target = buffers[step.out.buffer]
        if isinstance(step, Fill):
            _view(target.bytes, step.out)[...] = narrow(np.array(step.value), step.out.dtype)
            _written(target, step.out)[...] = True
            return
        source = buffers[step.source.buffer]
        _view(target.bytes, step.out)[...] = convert(_view(source.bytes, step.source), step)
        _written(target, step.out)[...] = _written(source, step.source)


def convert(values: Array, step: Copy) -> Array:
    """The stored values of a copy's source in the dtype of its target."""
    if step.source.dtype == step.out.dtype:
        return values
    return narrow(widen(values, step.source.dtype), step.out.dtype)


def _lay_out(
    plan: Plan, contents: Mapping[int, bytes | memoryview], poison: int
) -> tuple[Arena, list[Buffer]]:
    """The plan's buffers in one arena; those with contents count as written. The index keeps equal labels
    apart.
    """
    arena = Arena()
    buffers = [
        arena.add(decl.argument or f"{decl.label} (buffer {index})", decl.nbytes, written=index in contents)
        for index, decl in enumerate(plan.buffers)
    ]
    arena.freeze(poison)
    for index, data in contents.items():
        buffers[index].bytes[:] = np.frombuffer(data, dtype=np.uint8)
    return arena, buffers


def _hide_gaps(buffer: Buffer, layout: Layout) -> None:
    """What lies between the rows of an argument is not part of it."""
    whole = TensorRef(
        buffer=0, dtype=layout.dtype, shape=layout.shape, strides=layout.strides, offset=layout.offset
    )
    legal = np.zeros(buffer.nbytes, np.bool_)
    _flags(legal, whole)[...] = True
    buffer.legal = None if legal.all() else legal


def _bytes(buffers: list[Buffer], ref: TensorRef) -> bytes:
    """A tensor's elements in row-major order, as raw storage."""
    return np.ascontiguousarray(_view(buffers[ref.buffer].bytes, ref)).tobytes()


def _digests(plan: Plan, buffers: list[Buffer]) -> dict[str, bytes]:
    return {
        decl.argument: hashlib.blake2b(buffer.bytes.tobytes(), digest_size=16).digest()
        for decl, buffer in zip(plan.buffers, buffers, strict=True)
        if decl.argument is not None
    }


def _view(data: npt.NDArray[np.uint8], ref: TensorRef) -> Array:
    """The tensor `ref` as a writable strided NumPy view of its buffer's bytes."""
    form = FORMATS[ref.dtype]
    start, stop = ref.span()
    if start == stop:
        return np.zeros(ref.shape, form.storage)
    flat = data[: len(data) // form.itemsize * form.itemsize].view(form.storage)[ref.offset :]
    strides = tuple(stride * form.itemsize for stride in ref.strides)
    return np.lib.stride_tricks.as_strided(flat, ref.shape, strides)


def _written(buffer: Buffer, ref: TensorRef) -> npt.NDArray[np.bool_]:
    """Per element: has its first byte been written? A writable view of the buffer's shadow, all bytes of an
    element.

    Kernels write whole elements, so the shadow of the view has one trailing axis of `itemsize` bytes.
    """
    return _flags(buffer.written, ref)


def _flags(flags: npt.NDArray[np.bool_], ref: TensorRef) -> npt.NDArray[np.bool_]:
    """The part of a buffer's flags, one a byte, that belongs to a tensor: (*shape, itemsize), writable."""
    size = FORMATS[ref.dtype].itemsize
    start, stop = ref.span()
    if start == stop:
        return np.ones((*ref.shape, size), np.bool_)
    shadow = flags[start:]
    strides = (*(stride * size for stride in ref.strides), 1)
    return np.lib.stride_tricks.as_strided(shadow, (*ref.shape, size), strides)


def _kernel_argument(value: Argument, buffers: list[Buffer]) -> PointerArg | int | float | bool | str | None:
    if isinstance(value, TensorRef):
        return PointerArg(
            buffer=buffers[value.buffer], byte_offset=value.offset * value.itemsize, dtype=value.dtype
        )
    if isinstance(value, DtypeName):
        return value.name
    return value
