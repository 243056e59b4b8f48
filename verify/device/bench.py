"""THR measured: a mechanism's kernels on a device, beside its definition and what PyTorch has.

The judge asks workers to time, form by form and in turn, so that a drift of the device meets all of them. At
a repetition drawn afterwards it takes a part of the results, drawn after that, and compares it with the
float64 definition. Nothing here loads torch.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from verify.device.attach import LIMITS, Device
from verify.device.clock import Reading, Timing, batches, summarise
from verify.device.floor import Floor, floor_of
from verify.device.sampling import Sampler, Stale
from verify.findings import Finding
from verify.judge.cases import Case
from verify.judge.contract_checks import dense_request
from verify.judge.session import Rejected, Session
from verify.judge.throughput import dot_flops, reference_case
from verify.plan.format import Plan
from verify.plan.request import TraceRequest
from verify.sandbox.client import RemoteRefusal, Worker, WorkerFailure

FormName = Literal["kernels", "eager", "compiled", "sdpa"]
FORMS: tuple[FormName, ...] = ("kernels", "eager", "compiled", "sdpa")

CPU_SHAPES = ({"B": 1, "T": 256, "H": 2, "D": 32},)
"""On a CPU, where only the clock is exercised."""

INPUT_SETS = 3
REPETITIONS = 15
TARGET_SECONDS = 0.05
"""What the difference between two batches should take."""


@dataclass(kw_only=True)
class Measured:
    """`rows` for the document, one per shape; `findings` reject; `refused` says what was not measured, and
    why.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class _Unavailable(Exception):
    """A form that cannot be timed here; the message says why."""


@dataclass(kw_only=True)
class _Lane:
    """One form under way: its worker, its batches and what they gave."""

    form: FormName
    worker: Worker
    few: int
    many: int
    readings: list[Reading] = field(default_factory=list)


def measure(
    session: Session,
    device: Device,
    *,
    shapes: Sequence[Mapping[str, int]],
    seed: int,
    forms: Sequence[FormName] = FORMS,
    repetitions: int = REPETITIONS,
) -> Measured:
    """Time `forms` at every shape. Raises Rejected where the mechanism cannot be traced.

    `seed` is for counting work; what is timed has inputs that nobody can know beforehand.
    """
    measured = Measured()
    for shape in shapes:
        bench = _Bench(session, device, shape, seed)
        with bench:
            measured.rows.append(bench.row(forms, repetitions, measured))
    return measured


class _Bench:
    """One shape. A context manager: leaving it ends the workers, whose memory the next shape needs."""

    def __init__(self, session: Session, device: Device, shape: Mapping[str, int], seed: int) -> None:
        self._session, self._device, self._shape, self._seed = session, device, shape, seed
        self._stack = ExitStack()
        # The operating system's: nobody can know which inputs, sets, batches and results are meant.
        self._chance = random.SystemRandom()
        self._input_seed = self._chance.getrandbits(64)
        mechanism = session.mechanism
        self._case: Case = reference_case(mechanism.spec, shape)
        self._request: TraceRequest = dense_request(mechanism, self._case)
        self._plan: Plan = session.trace(self._request, self._case.label)
        self._timed: FormName = "kernels" if device.kind == "cuda" else "eager"

    def __enter__(self) -> None:
        """Nothing is started before it is needed."""

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def row(self, forms: Sequence[FormName], repetitions: int, measured: Measured) -> dict[str, Any]:
        """Everything about this shape; problems go to `measured`."""
        spec, label = self._session.mechanism.spec, self._case.label
        missing: dict[FormName, str] = {}
        lanes: list[_Lane] = []
        for form in forms:
            try:
                lanes.append(self._start(form))
            except (_Unavailable, RemoteRefusal, WorkerFailure) as reason:
                missing[form] = self._lost(form, reason, measured)
        checked = self._repeat(lanes, missing, repetitions, measured)
        timings = {lane.form: summarise(lane.readings) for lane in lanes if lane.readings}
        floor = self._floor()
        row: dict[str, Any] = {
            "shape": dict(self._case.sizes),
            "dtype": self._case.dtype,
            "tuning": 0,
            "input_seed": f"{self._input_seed:016x}",
            "input_sets": INPUT_SETS,
            "forms": {name: {"n/a": why} for name, why in missing.items()}
            | {lane.form: _numbers(lane, timings[lane.form]) for lane in lanes if lane.form in timings},
            "floor": floor.to_json(),
            "checked": checked,
            "tokens_per_second": None,
        }
        own = timings.get(self._timed)
        if own is None or own.problem is not None:
            why = own.problem if own is not None else missing.get(self._timed, "it was not asked for")
            measured.refused.append(f"{self._timed} at {label}: {why}")
        else:
            sizes = spec.resolve(self._case.size_map)
            row["tokens_per_second"] = sizes["B"] * sizes["T"] / own.median
            measured.findings += below_floor(own, floor, label)
        return row

    def _start(self, form: FormName) -> _Lane:
        """A worker that is warm for `form`. Raises _Unavailable, RemoteRefusal or WorkerFailure."""
        role = self._role_for(form)
        source = self._session.mechanism.source.encode()
        worker = self._device.server.worker(role, source=source, limits=LIMITS)
        self._stack.callback(worker.kill)
        try:
            worker.call("prepare", self._prepare(form))
            answer, _ = worker.call("warm", {"form": form})
        except (RemoteRefusal, WorkerFailure):
            worker.kill()  # the next form needs its memory
            raise
        few, many = batches(float(answer["seconds"]), target=TARGET_SECONDS)
        return _Lane(form=form, worker=worker, few=few, many=many)

    def _lost(self, form: FormName, reason: Exception, measured: Measured) -> str:
        """Why a form has no time. What a device says against the kernels is a finding; a worker's end is not,
        since it may have been the machine's.
        """
        if not isinstance(reason, RemoteRefusal):
            return str(reason)
        if form == "kernels":
            where = self._case.label
            measured.findings.append(Finding(rule=reason.rule, message=reason.message, where=where))
        return reason.message

    def _role_for(self, form: FormName) -> str:
        mechanism = self._session.mechanism
        if self._device.kind == "cpu" and form != "eager":
            raise _Unavailable("only definitions run on a CPU; the interpreter's speed says nothing")
        attention = mechanism.spec.family == "softmax_attention"
        attention = attention and [entry.name for entry in mechanism.spec.arguments] == ["q", "k", "v"]
        if form == "sdpa" and not attention:
            raise _Unavailable("the mechanism is not softmax attention of q, k and v")
        if form == "compiled" and not mechanism.has_parallel and _loops(mechanism.source):
            raise _Unavailable("there is no parallel form, and a loop over tokens takes too long to unroll")
        return "timing" if form in ("kernels", "sdpa") else "baseline"

    def _prepare(self, form: FormName) -> dict[str, Any]:
        mechanism, request = self._session.mechanism, self._request
        spec = mechanism.spec
        domains = {entry.name: entry.domain for entry in spec.differentiated}
        return {
            "forms": [form],
            "sets": INPUT_SETS,
            "seed": self._input_seed,
            "tensors": [
                {
                    "name": name,
                    "domain": domains.get(name, "normal"),
                    "shape": list(layout.shape),
                    "dtype": layout.dtype,
                }
                for name, layout in request.arguments.items()
            ],
            "plan": self._plan.to_json(),
            "kernels": list(mechanism.kernels),
            "state": [entry.name for entry in spec.state],
            "gradients": [entry.name for entry in spec.differentiated],
            "entries": [[entry.name, entry.differentiable] for entry in spec.differentiated],
            "inputs": len(spec.arguments),
            "constants": dict(spec.constants),
            "function": "parallel" if mechanism.has_parallel else "reference",
            "causal": spec.causal,
        }

    def _repeat(
        self, lanes: list[_Lane], missing: dict[FormName, str], repetitions: int, measured: Measured
    ) -> dict[str, Any]:
        """Time all lanes in turn; at one repetition, compare. Lanes that fail are taken out."""
        chance = self._chance
        looked_at = chance.randrange(repetitions)
        checked: dict[str, Any] = {}
        for repetition in range(repetitions):
            last = chance.randrange(INPUT_SETS)
            for lane in list(lanes):
                few, many = lane.few, lane.many + chance.randrange(INPUT_SETS)
                first = (last + 1 - few - many) % INPUT_SETS
                request = {"form": lane.form, "few": few, "many": many, "first": first}
                try:
                    answer, _ = lane.worker.call("measure", request)
                except (RemoteRefusal, WorkerFailure) as reason:
                    missing[lane.form] = self._lost(lane.form, reason, measured)
                    lanes.remove(lane)
                    continue
                lane.readings.append(Reading(host=float(answer["host"]), device=float(answer["device"])))
            if repetition == looked_at:
                seed = chance.getrandbits(64)  # only now: nothing that was timed can have known it
                checked = self._check_all(lanes, missing, seed, last, measured)
        return {"repetition": looked_at, **checked}

    def _check_all(
        self, lanes: list[_Lane], missing: dict[FormName, str], seed: int, last: int, measured: Measured
    ) -> dict[str, Any]:
        """Compare a part of what every form left of input set `last`; forms that fail are taken out."""
        checked: dict[str, Any] = {"seed": f"{seed:016x}"}
        sampler: Sampler | None = None
        for lane in list(lanes):
            if lane.form == "sdpa":  # another function where a slot differs: a yardstick of speed
                continue
            try:
                sampler = sampler or Sampler(self._session, self._case, self._request, seed)
                checked[lane.form] = self._check(sampler, lane, last, measured)
            except (_Unavailable, RemoteRefusal, WorkerFailure) as reason:
                missing[lane.form] = self._lost(lane.form, reason, measured)
                lanes.remove(lane)
        return checked

    def _check(self, sampler: Sampler, lane: _Lane, last: int, measured: Measured) -> dict[str, Any]:
        """A difference in the timed form is a finding; another form that has one is not shown."""
        try:
            return sampler.look(lane.worker, lane.form, last)
        except Rejected as rejected:
            measured.refused.append(
                f"{lane.form} at {self._case.label}: its results cannot be checked at this length: "
                f"{rejected.finding.message}"
            )
            return {"n/a": rejected.finding.message}
        except Stale as stale:
            if lane.form != self._timed:
                raise _Unavailable(f"what it left is wrong: {stale}") from None
            measured.findings.append(Finding(rule=stale.rule, message=str(stale), where=self._case.label))
            return {"wrong": str(stale)}

    def _floor(self) -> Floor:
        if self._device.facts.bfloat16_flops is None:
            return floor_of(self._plan, 0.0, self._device.facts)
        flops = dot_flops(self._session, {"D": 64, **self._shape}, self._seed)
        return floor_of(self._plan, sum(flops.values()), self._device.facts)


def _loops(source: str) -> bool:
    """Whether `reference` holds a loop, which a compiler unrolls."""
    return any(
        isinstance(node, ast.For | ast.While)
        for function in ast.parse(source).body
        if isinstance(function, ast.FunctionDef) and function.name == "reference"
        for node in ast.walk(function)
    )


def _numbers(lane: _Lane, timing: Timing) -> dict[str, Any]:
    """A form's part of the document: microseconds, as measured."""
    times = {name: value * 1e6 for name, value in asdict(timing).items() if isinstance(value, float)}
    return {
        "microseconds": times["median"],
        "low": times["low"],
        "high": times["high"],
        "device_microseconds": times["device"],
        "repetitions": timing.repetitions,
        "batches": [lane.few, lane.many],
        "refused": timing.problem,
    }


def below_floor(timing: Timing, floor: Floor, where: str) -> list[Finding]:
    """THR-BELOW-ROOFLINE: a time that the device cannot reach is not a fast kernel but work not done."""
    if floor.seconds is None or timing.median >= floor.seconds:
        return []
    return [
        Finding(
            rule="THR-BELOW-ROOFLINE",
            where=where,
            message=f"the kernels take {timing.median * 1e6:.3g} us; expected at least "
            f"{floor.seconds * 1e6:.3g} us, the time for {floor.reason}. Do the work at every size",
        )
    ]
