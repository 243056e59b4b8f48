"""THR without a device: what the usual case's launches move and compute, from a few of their programs.

The bound is a roofline's, marked as a model: no implementation of these launches can be under it, and nothing
says that this one is near it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from verify.device.hardware import CudaDevice
from verify.device.sheets import SHEETS
from verify.foreign.cases import Outcome
from verify.foreign.library import Refused, record
from verify.foreign.notes import Note
from verify.foreign.spec import Case, Spec
from verify.foreign.timing import time_case
from verify.roofline.bounds import LABEL, LaunchBound, bounds_of, total_seconds
from verify.triton_cpu.compiler.compile import CompilePointer
from verify.triton_cpu.counting.counter import CountedLaunch, count_launches
from verify.triton_cpu.counting.storages import Storages, TensorView
from verify.triton_cpu.host import Recorded
from verify.triton_cpu.host.shadows import bytes_of
from verify.triton_cpu.interpreter.launch import KernelError, WorkLimitExceeded

CHARTED = "sm_90"
"""The target whose launches are listed one by one."""


class NotCounted(Exception):
    """A launch whose arguments have no form that can be counted; the message names the argument."""


def estimate(spec: Spec, case: Case) -> tuple[Outcome, dict[str, Any]]:
    """Counts and lower bound of each launch, and in all, for each target.

    THR is skipped where a launch cannot be counted, with the reason.
    """
    outcome = Outcome(shown={"THR"})
    try:
        launches = record(spec, case, spec.case_dtypes(case)[0], keep=True)
        counted = count_launches(countable(launches))
    except Refused as refused:
        outcome.notes.append(Note(rule=refused.rule, case=case.name, message=str(refused)))
        return outcome, {}
    except (NotCounted, KernelError, WorkLimitExceeded) as reason:
        return Outcome(skipped={"THR": str(reason)}), {}
    sheet = SHEETS[CHARTED]
    rows = [_row(bound) for bound in bounds_of(counted, sheet)]
    totals = {
        target: _rounded(1e6 * total_seconds(bounds_of(counted, sheet))) for target, sheet in SHEETS.items()
    }
    return outcome, {
        "label": LABEL,
        "shape": dict(case.size_map),
        "dtype": spec.case_dtypes(case)[0],
        "at_least_microseconds": totals,
        f"launches on {CHARTED}": rows,
        **_timed(spec, case),
    }


def _timed(spec: Spec, case: Case) -> dict[str, Any]:
    """What a CUDA device of this machine says, if there is one."""
    if not torch.cuda.is_available():
        return {}
    timing = time_case(spec, case, CudaDevice("cuda:0"), "cuda:0")
    return {"timed": {"evidence": f"device:{torch.cuda.get_device_name(0)}", **vars(timing)}}


def _row(bound: LaunchBound) -> dict[str, Any]:
    counts = bound.launch.counts
    return {
        "kernel": bound.launch.kernel,
        "grid": list(bound.launch.grid),
        "sampled": bound.launch.sampled,
        "dot_flops": dict(counts.dot_flops),
        "fp32_flops": counts.fp32_flops,
        "special_ops": counts.special_ops,
        "unique_bytes": counts.unique_bytes,
        "at_least_microseconds": _rounded(1e6 * bound.total),
        "bound_by": bound.bound_by,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def countable(launches: list[Recorded]) -> list[CountedLaunch]:
    """Recorded launches on memory that is hardly there: integers keep their values, floats are zeros.

    Raises NotCounted.
    """
    storages = Storages()
    found = []
    for number, launch in enumerate(launches):
        arguments: dict[str, Any] = {}
        for name, value in launch.arguments.items():
            if isinstance(value, CompilePointer):
                arguments[name] = _view(launch, name, number, storages)
            elif name in launch.constexprs or value is None or isinstance(value, int | float | bool | str):
                arguments[name] = value
            else:
                raise NotCounted(f"{launch.kernel.__name__}: {name} is a {type(value).__name__}")
        found.append(CountedLaunch(kernel=launch.kernel, arguments=arguments, grid=launch.grid))
    return found


def _view(launch: Recorded, name: str, number: int, storages: Storages) -> TensorView:
    facts = launch.tensors[name]
    content = None
    tensor: Mapping[str, Any] = launch.values
    if not facts.dtype.is_floating_point and name in tensor:
        content = bytes_of(tensor[name].untyped_storage())
    storage = storages.add(
        f"{number}.{name}", facts.storage_bytes, content=content, misaligned=facts.address16
    )
    return TensorView(
        storage=storage,
        dtype=str(facts.dtype).removeprefix("torch."),
        shape=facts.shape,
        strides=facts.stride,
        offset=facts.offset,
    )
