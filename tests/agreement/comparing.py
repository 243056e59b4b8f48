"""The launches of a mechanism at a small size, counted by a sample and by running every program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from verify.judge.contract_checks import dense_request
from verify.plan.format import Argument, DtypeName, Launch, Plan, TensorRef
from verify.plan.signatures import kernel_signatures
from verify.plan.tracer import trace
from verify.roofline.shapes import shape_case
from verify.source.static import Mechanism, blank_out, check_static
from verify.triton_cpu.counting import counter
from verify.triton_cpu.counting.counter import CountedLaunch, count_launch
from verify.triton_cpu.counting.counts import Counts, LaunchCounts
from verify.triton_cpu.counting.storages import Storage, Storages, TensorView
from verify.triton_cpu.interpreter.launch import load_kernels


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One launch: the sample's estimate, and what all programs do."""

    estimate: LaunchCounts
    exact: LaunchCounts

    def errors(self) -> dict[str, float]:
        """Relative error of every count, with its sign; of those that are not zero."""
        got, want = self.estimate.counts, self.exact.counts
        names = [name for name in Counts.__dataclass_fields__ if name != "dot_flops"]
        pairs = {name: (getattr(got, name), getattr(want, name)) for name in names}
        pairs |= {f"dot {name}": (got.dot_flops[name], flops) for name, flops in want.dot_flops.items()}
        return {name: estimate / exact - 1.0 for name, (estimate, exact) in pairs.items() if exact}

    def worst(self) -> tuple[str, float]:
        """The count that is furthest off, and its relative error."""
        errors = self.errors()
        name = max(errors, key=lambda one: abs(errors[one]))
        return name, errors[name]


def compare_mechanism(path: Path, shape: str, dtype: str = "bfloat16") -> list[Compared]:
    """Every launch of forward and backward at this shape whose grid is larger than a sample."""
    mechanism = check_static(path.read_bytes(), path=str(path)).mechanism
    assert mechanism is not None
    found = []
    for launch in launches_of(mechanism, shape, dtype):
        estimate = count_launch(launch)
        if not estimate.complete:
            found.append(Compared(estimate=estimate, exact=count_launch(launch, programs=None)))
    return found


def launches_of(mechanism: Mechanism, shape: str, dtype: str) -> list[CountedLaunch]:
    """A trusted mechanism's launches, traced in this process."""
    request = dense_request(mechanism, shape_case(mechanism.spec, shape, dtype))
    signatures = kernel_signatures(mechanism.source, mechanism.kernels)
    plan: Plan = trace(mechanism.source, request, signatures)
    kernels = load_kernels(blank_out(mechanism.source, keep="kernels"), f"<{mechanism.spec.template}>")
    storages = Storages()
    memory = [storages.add(buffer.label, buffer.nbytes) for buffer in plan.buffers]
    return [
        CountedLaunch(
            kernel=kernels[step.kernel],
            arguments={name: _argument(value, memory) for name, value in step.arguments},
            grid=step.grid,
        )
        for step in (*plan.forward, *plan.backward)
        if isinstance(step, Launch)
    ]


def _argument(value: Argument, memory: list[Storage]) -> counter.Argument:
    if isinstance(value, TensorRef):
        return TensorView(
            storage=memory[value.buffer],
            dtype=value.dtype,
            shape=value.shape,
            strides=value.strides,
            offset=value.offset,
        )
    return value.name if isinstance(value, DtypeName) else value
