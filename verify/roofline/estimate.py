"""The roofline of one mechanism at a real size: its launches counted, and the time that each needs at least.

The wrappers are traced and the kernels run in confined workers, as the judge does it; here is no candidate
code. What comes out is a model's bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from verify.device.sheets import SHEETS, DeviceSheet
from verify.dtypes import narrow
from verify.errors import InfrastructureError
from verify.findings import Finding
from verify.judge.cases import Case
from verify.judge.contract_checks import dense_request
from verify.judge.inputs import draw
from verify.judge.judge import WORKER_LIMITS, IsolationError, verdict_seed
from verify.judge.random import Stream
from verify.judge.runs import EVENT_RULES, EXPECTED
from verify.judge.session import Rejected, Session
from verify.judge.verdict import FULL_ISOLATION
from verify.plan.format import Copy, Fill, Launch, Plan, TensorRef
from verify.roofline.bounds import LABEL, LaunchBound, bound_of, total_seconds
from verify.roofline.chart import write_chart
from verify.roofline.shapes import shape_case
from verify.roofline.table import legend, table_lines
from verify.sandbox.client import Limits, RemoteRefusal, Role, Server, Worker, WorkerFailure
from verify.seeds import derive
from verify.source.contract import Spec
from verify.source.static import Mechanism, check_static
from verify.triton_cpu.counting.counts import SECTOR_BYTES, Counts, LaunchCounts

ROLES: Mapping[str, Role] = {
    "trace": Role(module="verify.roles.trace"),
    "count": Role(module="verify.roles.count"),
}
LAUNCH_SECONDS = 300.0
PROGRAMS = 24

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the command prints: `bounds` of the launches, or the findings that kept it from counting all."""

    file: Path
    sheet: DeviceSheet
    case: Case | None
    bounds: tuple[LaunchBound, ...] = ()
    phases: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = field(default=())

    @property
    def summary(self) -> str:
        """One closing sentence."""
        if self.findings:
            return f"rejected by {', '.join(sorted({finding.rule for finding in self.findings}))}"
        micro = total_seconds(self.bounds) * 1e6
        return f"at least {micro:.1f} us on {self.sheet.name}, {len(self.bounds)} steps ({LABEL})"

    def to_json(self) -> dict[str, Any]:
        case = self.case
        return {
            "path": str(self.file),
            "target": self.sheet.target,
            "device": self.sheet.name,
            "rates_from": self.sheet.source,
            "label": LABEL,
            "shape": {} if case is None else case.size_map,
            "dtype": None if case is None else case.dtype,
            "findings": [finding.to_json() for finding in self.findings],
            "launches": [
                {"phase": phase, **bound.to_json()}
                for phase, bound in zip(self.phases, self.bounds, strict=True)
            ],
            "microseconds": None if self.findings else total_seconds(self.bounds) * 1e6,
            "summary": self.summary,
        }

    def draw(self, path: Path) -> None:
        """Write the chart as a PNG; raises as `write_chart`."""
        label = "" if self.case is None else f"\n{self.case.label}"
        write_chart(self.bounds, self.sheet, path, title="/".join(self.file.parts[-3:]) + label)

    def lines(self) -> list[str]:
        """A table of the launches, its legend, and whatever was found."""
        found = [finding.render(str(self.file)) for finding in self.findings]
        if not self.bounds:
            return found
        label = "" if self.case is None else self.case.label
        head = [f"{self.file}: {label}, on {self.sheet.name} ({self.sheet.target})", ""]
        return [*head, *table_lines(self.bounds, self.phases), *legend(self.sheet), *found]


def estimate_file(
    file: Path,
    source: bytes,
    *,
    shape: str,
    dtype: str,
    target: str,
    programs: int = PROGRAMS,
    require_isolation: bool = True,
    say: Say = lambda _: None,
) -> Estimate:
    """Count every launch of forward and backward, at `shape` ("B=4,T=8192"; see `shape_case`).

    Raises ValueError where the mechanism has no such case, or where the file is no mechanism.
    """
    static = check_static(source, path=str(file))
    mechanism, sheet = static.mechanism, SHEETS[target]
    if mechanism is None:
        return Estimate(file=file, sheet=sheet, case=None, findings=tuple(static.findings))
    case = shape_case(mechanism.spec, shape, dtype)
    try:
        with closing(Server(roles=ROLES)) as server:
            if require_isolation and server.isolation != FULL_ISOLATION:
                raise IsolationError(
                    f"expected {FULL_ISOLATION} on this machine, got {server.isolation}; pass "
                    "--allow-weak-isolation only for sources you trust"
                )
            phases, counted = _count(server, mechanism, case, programs, say)
    except Rejected as rejected:
        return Estimate(file=file, sheet=sheet, case=case, findings=(rejected.finding,))
    findings = tuple(
        Finding(
            rule=EVENT_RULES.get(one.kind, "MEM-POINTER"),
            line=one.line or None,
            where=case.label,
            message=f"{launch.kernel}: {one.message}; {EXPECTED.get(one.kind, 'expected none')}",
        )
        for launch in counted
        for one in launch.violations
    )
    bounds = tuple(bound_of(launch, sheet) for launch in counted)
    return Estimate(file=file, sheet=sheet, case=case, bounds=bounds, phases=tuple(phases), findings=findings)


# -- counting ------------------------------------------------------------------------------------------------


def _count(
    server: Server, mechanism: Mechanism, case: Case, programs: int, say: Say
) -> tuple[list[str], list[LaunchCounts]]:
    """Phase and counts of every step, in order. Raises Rejected."""
    with Session(server, mechanism, WORKER_LIMITS, roles=("trace",)) as session:
        plan = session.trace(dense_request(mechanism, case), case.label)
    seed = derive(verdict_seed(mechanism.source_hash), "count", case.label)
    limits = Limits(memory_bytes=address_space(plan), seconds=LAUNCH_SECONDS)
    phases = ["forward"] * len(plan.forward) + ["backward"] * len(plan.backward)
    counted: list[LaunchCounts] = []
    try:
        with server.worker("count", source=mechanism.source.encode(), limits=limits) as worker:
            contents = _contents(mechanism.spec, case, plan, seed)
            header = {"plan": plan.to_json(), "kernels": list(mechanism.kernels), "contents": list(contents)}
            worker.call("plan", header, list(contents.values()))
            for step in (*plan.forward, *plan.backward):
                if isinstance(step, Launch):
                    say(f"counting {step.kernel}, {step.programs:,} programs")
                    counted.append(_next(worker, programs, seed))
                else:
                    counted.append(moved(step))
    except RemoteRefusal as refusal:
        raise Rejected(
            Finding(rule=refusal.rule, message=refusal.message, line=refusal.line, where=case.label)
        ) from None
    except WorkerFailure as failure:
        if failure.kind == "timeout":
            raise InfrastructureError(
                f"counting {case.label} took more than {LAUNCH_SECONDS:g} s a launch; expected less. Take "
                "fewer programs or a smaller shape"
            ) from None
        message = f"the kernels' process ended without an answer ({failure.kind}): {failure.detail}"
        raise Rejected(Finding(rule="NUM-KERNEL-FAILED", message=message, where=case.label)) from None
    return phases, counted


def _next(worker: Worker, programs: int, seed: int) -> LaunchCounts:
    header, _ = worker.call("next", {"programs": programs, "seed": seed})
    try:
        return LaunchCounts.from_json(header.get("launch"))
    except ValueError as error:
        raise InfrastructureError(f"the counting worker's answer is not one: {error}") from None


def _contents(spec: Spec, case: Case, plan: Plan, seed: int) -> dict[str, bytes]:
    """Bytes of the arguments whose values decide where a kernel reads: indices."""
    sizes, contents = spec.resolve(case.size_map), {}
    wanted = {buffer.argument for buffer in plan.buffers}
    for entry in spec.differentiated:
        if entry.domain == "index" and entry.name in wanted:
            values = draw(Stream(derive(seed, entry.name)), "index", entry.shape(sizes))
            dtype = case.dtype if entry.dtype == "io" else entry.dtype
            contents[entry.name] = np.ascontiguousarray(narrow(values, dtype)).tobytes()
    return contents


def address_space(plan: Plan) -> int:
    """Bytes of addresses that counting needs: the buffers, and a stamp for each element of an argument.

    Most of them are never touched; the worker limits what is.
    """
    buffers = sum(buffer.nbytes for buffer in plan.buffers)
    largest = 0
    for launch in plan.launches:
        refs = [value for _, value in launch.arguments if isinstance(value, TensorRef)]
        stamps = sum((2 + 8 // ref.itemsize) * plan.buffers[ref.buffer].nbytes for ref in refs)
        largest = max(largest, stamps)
    return buffers + 2 * largest + (6 << 30)  # twice: one launch's are freed while the next one's are made


def moved(step: Fill | Copy) -> LaunchCounts:
    """What a fill or a copy of the plan moves: every element once."""
    moves: dict[str, float] = {
        "stores": 1,
        "bytes_stored": _bytes(step.out, distinct=False),
        "unique_stored": _bytes(step.out, distinct=True),
    }
    moves["sectors_stored"] = moves["flushed_sectors"] = -(-moves["unique_stored"] // SECTOR_BYTES)
    if isinstance(step, Copy):
        moves |= {
            "loads": 1,
            "bytes_loaded": _bytes(step.source, distinct=False),
            "unique_loaded": _bytes(step.source, distinct=True),
        }
        moves["sectors_loaded"] = moves["fetched_sectors"] = -(-moves["unique_loaded"] // SECTOR_BYTES)
    return LaunchCounts(
        kernel="(copy)" if isinstance(step, Copy) else "(fill)",
        grid=(1, 1, 1),
        sampled=0,
        complete=True,
        counts=Counts(**moves),  # type: ignore[arg-type]
        arguments=(),
        programs=(),
    )


def _bytes(ref: TensorRef, *, distinct: bool) -> int:
    elements = 1
    for size, stride in zip(ref.shape, ref.strides, strict=True):
        elements *= min(size, 1) if distinct and stride == 0 else size
    return elements * ref.itemsize
