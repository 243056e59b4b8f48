"""THR on a device: how long the usual case takes, forward and backward, by the judge's own clock.

The library runs there as it is, with its autotuners. On a CPU this only exercises the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from verify.device.clock import Device, Timing, batches, read, summarise
from verify.foreign.library import zeros_of
from verify.foreign.reference import outputs_of
from verify.foreign.spec import Case, Spec

REPETITIONS = 15
TARGET_SECONDS = 0.02
"""Of the difference between the two batches of one repetition."""


def runner(spec: Spec, case: Case, dtype: str, place: str) -> Callable[[], None]:
    """One forward and backward of the case on the torch device `place`, on inputs that are there already."""
    leaves = {
        name: leaf.to(place).detach().requires_grad_(leaf.requires_grad)
        for name, leaf in zeros_of(spec, case, dtype, fill=0.5).items()
    }
    moving = [leaf for leaf in leaves.values() if leaf.requires_grad]

    def run() -> None:
        outputs: dict[str, Any] = outputs_of(spec, case, spec.call(**leaves, **case.options))
        used = [output for output in outputs.values() if output.requires_grad]
        if used and moving:
            duals = [torch.ones_like(output) for output in used]
            torch.autograd.grad(used, moving, duals, allow_unused=True)

    return run


def time_case(
    spec: Spec, case: Case, device: Device, place: str, *, repetitions: int = REPETITIONS
) -> Timing:
    """Median seconds of a run, and whether host and device agree. The first runs compile and tune."""
    run = runner(spec, case, spec.case_dtypes(case)[0], place)
    for _ in range(3):
        run()
    device.synchronize()
    began = device.now()
    run()
    device.synchronize()
    few, many = batches(device.now() - began, target=TARGET_SECONDS)
    return summarise([read(device, run, few=few, many=many) for _ in range(repetitions)])
