"""Role `count`: run a few programs of a plan's launches at real sizes, and say what they do.

Kernels run as in role `execute`; the plan's memory is laid out, and there only where it is written.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from verify.plan.executor import convert
from verify.plan.format import Argument, Copy, DtypeName, Fill, Launch, Plan, Step, TensorRef
from verify.sandbox.wire import Refusal
from verify.source.static import blank_out
from verify.triton_cpu.counting import counter
from verify.triton_cpu.counting.storages import Storage, Storages, TensorView
from verify.triton_cpu.interpreter.launch import (
    KernelError,
    WorkLimitExceeded,
    WorkLimits,
    language,
    load_kernels,
)
from verify.triton_cpu.selftest import runner

RESIDENT_BYTES = 4 << 30
"""Memory that sampled programs may really use."""

LARGEST_GRID = 1 << 40
LIMITS = WorkLimits(launches=1, programs=1 << 62, loop_steps=1 << 17)
"""For one program: real sizes have long loops (a step a token: 8192)."""

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "bool")


class Handler:
    """Counts the launches of one plan of one mechanism."""

    def __init__(self, source: str) -> None:
        self._kernels = load_kernels(blank_out(source, keep="kernels"), "<mechanism>")
        self._steps: tuple[Step, ...] = ()
        self._storages: list[Storage] = []
        self._next = 0
        self._start = _resident()

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """`plan`: {"plan", "kernels", "contents"} and the bytes of the arguments named there -> {}. `next`:
        {"programs", "seed"} -> {"launch"}, the counts of the plan's next launch, in the order of the steps.
        """
        if method == "plan":
            self._lay_out(header, blobs)
            return {}, []
        if method != "next" or blobs:
            raise ValueError(f"role count: expected the method plan or next, got {method}")
        return {"launch": self._count(header["programs"], header["seed"])}, []

    def _lay_out(self, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview]) -> None:
        declared = header["plan"]["buffers"]
        sizes = {one["argument"]: one["nbytes"] for one in declared if one["argument"] is not None}
        plan = Plan.from_json(header["plan"], kernels=header["kernels"], arguments=sizes)
        contents = dict(zip(header["contents"], blobs, strict=True))
        storages = Storages()
        for index, buffer in enumerate(plan.buffers):
            given = contents.get(buffer.argument or "")
            content = None if given is None else np.frombuffer(given, np.uint8)
            name = buffer.argument or f"{buffer.label} (buffer {index})"
            self._storages.append(storages.add(name, buffer.nbytes, content=content))
        self._steps = (*plan.forward, *plan.backward)

    def _count(self, programs: int, seed: int) -> dict[str, Any]:
        while not isinstance(step := self._steps[self._next], Launch):
            self._move(step)
            self._next += 1
        self._next += 1
        if step.programs > LARGEST_GRID:
            message = f"{step.kernel}: expected at most {LARGEST_GRID} programs, got {step.programs}"
            raise Refusal("NUM-WORK-LIMIT", message, step.line)
        launch = counter.CountedLaunch(
            kernel=self._kernels[step.kernel],
            arguments={name: self._argument(value) for name, value in step.arguments},
            grid=step.grid,
        )
        try:
            counted = counter.count_launch(
                launch, programs=programs, seed=seed, limits=LIMITS, between=self._check_memory
            )
        except WorkLimitExceeded as error:
            raise Refusal("NUM-WORK-LIMIT", f"{step.kernel}: {error}", None) from None
        except KernelError as error:
            raise Refusal("NUM-KERNEL-ERROR", f"{error.kernel}: {error.message}", error.line) from None
        return counted.to_json()

    def _argument(self, value: Argument) -> counter.Argument:
        if isinstance(value, TensorRef):
            return self._view(value)
        return value.name if isinstance(value, DtypeName) else value

    def _view(self, ref: TensorRef) -> TensorView:
        return TensorView(
            storage=self._storages[ref.buffer],
            dtype=ref.dtype,
            shape=ref.shape,
            strides=ref.strides,
            offset=ref.offset,
        )

    def _move(self, step: Fill | Copy) -> None:
        """Fills and copies move values that may decide what a kernel does: those of integers."""
        if step.out.dtype not in _INTEGERS:
            return
        if isinstance(step, Fill):
            self._view(step.out).array()[...] = step.value
        elif step.source.dtype in _INTEGERS:
            self._view(step.out).array()[...] = convert(self._view(step.source).array(), step)
        self._check_memory()

    def _check_memory(self) -> None:
        used = _resident() - self._start
        if used > RESIDENT_BYTES:
            message = f"expected sampled programs to write at most {RESIDENT_BYTES >> 30} GiB, got more"
            raise Refusal("NUM-WORK-LIMIT", message, None)


def _resident() -> int:
    """Bytes of memory that this process has used at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def open(source: bytes) -> Handler:
    return Handler(source.decode())


def _ready() -> None:
    """As role `execute`: refuse to serve where a known answer is wrong."""
    language()
    failures = runner.run()
    if failures:
        raise RuntimeError("the interpreter fails its known-answer tests: " + "; ".join(failures))


_ready()
