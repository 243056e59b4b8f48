"""What the sanitizer costs: forward and backward of every skeleton and example, with it and without.

    python -m tests.sanitizer.overhead [NAME ...]

Both take turns in one process. What is compared is the smallest processor time of each, which a busy machine
disturbs little. Off, accesses are still checked against bounds and against what was written; on, order and
int32 offsets are looked at too.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from verify.judge.cases import Case
from verify.judge.contract_checks import trace_request
from verify.judge.inputs import CaseInputs, draw_inputs
from verify.plan import executor
from verify.plan.executor import PlanExecutor
from verify.plan.format import Plan
from verify.plan.tracer import kernel_signatures, trace
from verify.source.static import Mechanism, blank_out, check_static
from verify.triton_cpu.launch import WorkLimits, run_launch

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"B": 2, "T": 200, "H": 2, "D": 64, "K": 64, "V": 64}
ROUNDS = 5


def mechanisms() -> dict[str, Path]:
    """Name -> file of every skeleton and example."""
    return {path.stem: path for path in sorted((ROOT / "templates").rglob("v*/*.py"))}


def plan_of(path: Path) -> tuple[Mechanism, Plan, CaseInputs]:
    """A mechanism's plan at SIZES in float32, and the inputs of that case."""
    source = path.read_bytes()
    mechanism = check_static(source, path=str(path)).mechanism
    assert mechanism is not None, path
    spec = mechanism.spec
    sizes = tuple((name, SIZES.get(name, max(2, spec.dims[name].low))) for name in spec.free_dims())
    case = Case(sizes=sizes, dtype="float32")
    inputs = draw_inputs(mechanism.spec, case, 0)
    text = source.decode()
    plan = trace(text, trace_request(mechanism, case, inputs), kernel_signatures(text, mechanism.kernels))
    return mechanism, plan, inputs


def runner(mechanism: Mechanism, plan: Plan, inputs: CaseInputs, *, sanitize: bool) -> Callable[[], None]:
    """One run of the plan, with the sanitizer or without."""
    kernels = PlanExecutor(blank_out(mechanism.source, keep="kernels"), limits=WorkLimits())
    tensors = (*inputs.tensors, *inputs.cotangents)
    arguments = {tensor.name: tensor.raw for tensor in tensors if tensor.name in _arguments(plan)}
    names = (
        tuple(entry.name for entry in mechanism.spec.state),
        tuple(entry.name for entry in mechanism.spec.differentiated),
    )

    def launch(*positional: Any, **keywords: Any) -> None:
        run_launch(*positional, **{**keywords, "conflicts": sanitize})

    def run() -> None:
        with mock.patch.object(executor, "run_launch", launch):
            kernels.run(plan, arguments, names, poison=0xFF)

    return run


def _arguments(plan: Plan) -> set[str]:
    return {buffer.argument for buffer in plan.buffers if buffer.argument is not None}


def seconds(run: Callable[[], None]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    """Time what the command line names, or everything, and print a table."""
    found = mechanisms()
    ratios = []
    print(f"{'mechanism':24s} {'plain, ms':>10s} {'sanitized':>10s} {'ratio':>6s}")
    for name in sys.argv[1:] or found:
        parts = plan_of(found[name])
        plain, sanitized = (runner(*parts, sanitize=flag) for flag in (False, True))
        plain(), sanitized()  # schedules are learned, kernels rewritten
        times = [(seconds(plain), seconds(sanitized)) for _ in range(ROUNDS)]
        without, with_it = (min(column) for column in zip(*times, strict=True))
        ratios.append(with_it / without)
        print(f"{name:24s} {1e3 * without:10.1f} {1e3 * with_it:10.1f} {ratios[-1]:6.2f}")
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"{'geometric mean':24s} {'':10s} {'':10s} {mean:6.2f}")


if __name__ == "__main__":
    main()
