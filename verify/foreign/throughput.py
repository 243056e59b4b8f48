"""THR without a device: what the usual case's launches move and compute, from a few of their programs.

The bound is a roofline's, marked as a model: no implementation of these launches can be under it, and nothing
says that this one is near it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verify.foreign.cases import Outcome
from verify.foreign.library import Refused, record
from verify.foreign.notes import Note
from verify.foreign.spec import Case, Spec
from verify.triton_cpu.compile import CompilePointer
from verify.triton_cpu.counting import CountedLaunch, count_launches
from verify.triton_cpu.host import Recorded
from verify.triton_cpu.host.shadows import bytes_of
from verify.triton_cpu.storages import Storages, TensorView


class NotCounted(Exception):
    """A launch whose arguments have no form that can be counted; the message names the argument."""


def estimate(spec: Spec, case: Case) -> tuple[Outcome, dict[str, Any]]:
    """Counts of each launch and in all. THR is skipped where a launch cannot be counted, with the reason."""
    outcome = Outcome(shown={"THR"})
    try:
        launches = record(spec, case, spec.case_dtypes(case)[0])
        counted = count_launches(countable(launches))
    except Refused as refused:
        outcome.notes.append(Note(rule=refused.rule, case=case.name, message=str(refused)))
        return outcome, {}
    except NotCounted as reason:
        return Outcome(skipped={"THR": str(reason)}), {}
    rows = [
        {"kernel": one.kernel, "grid": list(one.grid), "sampled": one.sampled, **_numbers(one.counts)}
        for one in counted
    ]
    return outcome, {"shape": dict(case.size_map), "launches": rows}


def _numbers(counts: Any) -> dict[str, Any]:
    return {
        "dot_flops": dict(counts.dot_flops),
        "fp32_flops": counts.fp32_flops,
        "special_ops": counts.special_ops,
        "unique_loaded": counts.unique_loaded,
        "unique_stored": counts.unique_stored,
        "sectors_loaded": counts.sectors_loaded,
        "sectors_stored": counts.sectors_stored,
    }


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
