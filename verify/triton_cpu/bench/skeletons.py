"""A mechanism's forward and backward as a tape: its plan, run once here, each launch written down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from verify.judge.cases import Case, usual_sizes
from verify.judge.contract_checks import trace_request
from verify.judge.inputs import draw_inputs
from verify.plan.executor import PlanExecutor, Way
from verify.plan.format import Argument, DtypeName, Launch, Step, TensorRef
from verify.plan.signatures import kernel_signatures
from verify.plan.tracer import trace
from verify.source.static import Mechanism, blank_out, check_static
from verify.triton_cpu.bench.tape import (
    ArgumentValue,
    DtypeArg,
    KernelName,
    TapeLaunch,
    TapeWriter,
    TensorArg,
)
from verify.triton_cpu.interpreter.launch import Counters, WorkLimits
from verify.triton_cpu.memory.arena import Arena, Buffer

POISON = 0xFF
SEED = 1


class _Recorder(PlanExecutor):
    """Executes a plan and writes down what every launch starts from."""

    def __init__(self, mechanism: Mechanism, file: Path, writer: TapeWriter) -> None:
        super().__init__(blank_out(mechanism.source, keep="kernels"), limits=WorkLimits())
        self._file, self._writer = file, writer

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
        if isinstance(step, Launch):
            self._note(step, buffers)
        super()._step(step, arena, buffers, counters, conflicts=conflicts, way=way)

    def _note(self, step: Launch, buffers: list[Buffer]) -> None:
        used = sorted({value.buffer for _, value in step.arguments if isinstance(value, TensorRef)})
        launch = TapeLaunch(
            kernel=KernelName(place=str(self._file), name=step.kernel, is_file=True),
            grid=step.grid,
            arguments=tuple((name, _argument(value, used)) for name, value in step.arguments),
            storages=len(used),
        )
        held = [buffers[index] for index in used]
        self._writer.add(launch, [buffer.bytes for buffer in held], [buffer.written for buffer in held])


def _argument(value: Argument, used: list[int]) -> ArgumentValue:
    if isinstance(value, TensorRef):
        return TensorArg(
            storage=used.index(value.buffer),
            dtype=value.dtype,
            shape=value.shape,
            strides=value.strides,
            offset=value.offset,
        )
    return DtypeArg(name=value.name) if isinstance(value, DtypeName) else value


def record_mechanism(file: Path, shape: Mapping[str, int], dtype: str, folder: Path) -> None:
    """Write the tape of one forward and backward of the mechanism in `file`.

    `shape` has B, T, H and the head sizes K and V; `dtype` is that of the run. Raises ValueError for a file
    that is no valid mechanism.
    """
    checked = check_static(file.read_bytes(), path=str(file))
    mechanism = checked.mechanism
    if mechanism is None:
        raise ValueError(f"expected a valid mechanism in {file}, got {[f.message for f in checked.findings]}")
    spec = mechanism.spec
    case = Case(sizes=usual_sizes(spec, shape), dtype=dtype)
    inputs = draw_inputs(spec, case, SEED)
    signatures = kernel_signatures(mechanism.source, mechanism.kernels)
    plan = trace(mechanism.source, trace_request(mechanism, case, inputs), signatures)
    writer = TapeWriter(folder)
    names = (
        tuple(entry.name for entry in spec.state),
        tuple(entry.name for entry in spec.differentiated),
    )
    arguments = {tensor.name: tensor.raw for tensor in (*inputs.tensors, *inputs.cotangents)}
    with np.errstate(all="ignore"):
        _Recorder(mechanism, file, writer).run(plan, arguments, names, poison=POISON)
    writer.close()
