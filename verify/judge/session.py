"""One candidate's confined workers, and the questions the judge may ask them.

Answers come from processes that ran hostile code: the plan is parsed strictly, the executor's and the
oracle's blobs are sized before they are used, and a worker that fails is a finding, not an exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from verify.dtypes import FORMATS, Float64, to_float64
from verify.errors import InfrastructureError
from verify.findings import Finding
from verify.judge.inputs import CaseInputs, stack_raw
from verify.plan.format import Plan, PlanError
from verify.plan.request import TraceRequest
from verify.sandbox.client import Limits, RemoteRefusal, Server, Worker, WorkerFailure
from verify.source.contract import Spec
from verify.source.static import Mechanism


class Rejected(Exception):
    """A question to a worker ended in a finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class JudgeBroken(InfrastructureError):
    """Our own machinery failed: not a statement about the candidate. Exit code 3."""


@dataclass(frozen=True, kw_only=True)
class Executed:
    """A plan's results, widened to float64, and what the instrumented interpreter saw."""

    results: dict[str, Float64]
    raw: dict[str, bytes]
    uncovered: dict[str, int]
    changed: tuple[str, ...]
    guards: tuple[str, ...]
    events: tuple[dict[str, Any], ...]
    counters: dict[str, Any]


WORKER_RULES = {
    "trace": ("CON-TRACE-FAILED", "the wrapper's tracing process"),
    "execute": ("NUM-KERNEL-FAILED", "the kernels' process"),
    "device": ("NUM-KERNEL-FAILED", "the kernels' process on the device"),
    "oracle": ("CON-REFERENCE-FAILED", "the reference's process"),
}


class Session:
    """Workers for one mechanism, one per role; each answers one question at a time, in order.

    With `device`, a server that has the role of that name, plans run there and not in the interpreter.
    `roles` are those of the first server that are needed.
    """

    def __init__(
        self,
        server: Server,
        mechanism: Mechanism,
        limits: Limits,
        *,
        device: Server | None = None,
        roles: Sequence[str] = ("trace", "execute", "oracle"),
    ) -> None:
        self._servers = dict.fromkeys(roles, server)
        self._runs, self._limits = "execute", limits
        if device is not None:
            self._servers["device"], self._runs = device, "device"
        self.mechanism = mechanism
        self._workers: dict[str, Worker] = {}
        self._threads: dict[str, ThreadPoolExecutor] = {}

    @property
    def interprets(self) -> bool:
        """Whether plans run in the interpreter, and not on a device."""
        return self._runs == "execute"

    def __enter__(self) -> Self:
        for role, server in self._servers.items():
            try:
                self._workers[role] = server.worker(
                    role, source=self.mechanism.source.encode(), limits=self._limits
                )
            except WorkerFailure as failure:
                raise JudgeBroken(f"no worker for the role {role}: {failure.detail}") from None
            self._threads[role] = ThreadPoolExecutor(max_workers=1, thread_name_prefix=role)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            worker.kill()
        for thread in self._threads.values():
            thread.shutdown(wait=True, cancel_futures=True)

    def end(self) -> list[Finding]:
        """Close every worker; one that said more than it was asked is a finding."""
        findings = []
        for role, worker in self._workers.items():
            try:
                worker.close()
            except WorkerFailure as failure:
                findings.append(
                    Finding(
                        rule=WORKER_RULES[role][0],
                        message=f"{WORKER_RULES[role][1]} said more than "
                        f"it was asked ({failure.kind}): {failure.detail}; expected one answer a question",
                    )
                )
        return findings

    def trace(self, request: TraceRequest, where: str) -> Plan:
        """The launch plan for a request. Raises Rejected."""
        header, blobs = self._ask(
            "trace",
            "trace",
            {
                "request": request.to_json(),
                "kernels": list(self.mechanism.kernels),
            },
            (),
            where,
        )
        sizes = {name: layout.nbytes for name, layout in request.arguments.items()}
        if set(header) != {"plan"} or blobs:
            message = f"expected one plan, got {sorted(header)} and {len(blobs)} blobs"
            raise Rejected(Finding(rule="CON-PLAN", message=message, where=where))
        try:
            return Plan.from_json(header["plan"], kernels=self.mechanism.kernels, arguments=sizes)
        except PlanError as error:
            raise Rejected(Finding(rule="CON-PLAN", message=f"{error}", where=where)) from None

    def execute(
        self,
        plan: Plan,
        inputs: CaseInputs,
        where: str,
        *,
        poison: int,
        interpreted: bool = False,
        way: Mapping[str, Any] | None = None,
    ) -> Future[Executed]:
        """Run a plan in the background, on the session's device or else in the instrumented interpreter.

        `interpreted` asks for the interpreter in any case: only it counts what kernels do. `way` has the
        fields of `verify.plan.executor.Way` that differ from the plain way.
        """
        role = "execute" if interpreted else self._runs
        return self._threads[role].submit(self._execute, role, plan, inputs, where, poison, way or {})

    def memcheck(self, plan: Plan, inputs: CaseInputs, where: str) -> dict[str, Any]:
        """Run a plan once under the device's memory checker -> accesses, problem. Raises Rejected."""
        raw = {tensor.name: tensor.raw for tensor in (*inputs.tensors, *inputs.cotangents)}
        order = [buffer.argument for buffer in plan.buffers if buffer.argument is not None]
        header = {"plan": plan.to_json(), "kernels": list(self.mechanism.kernels)}
        answer, _ = self._ask("device", "memcheck", header, [raw[name] for name in order], where)
        return answer

    def evaluate(
        self,
        function: str,
        inputs: CaseInputs,
        variants: Sequence[Sequence[bytes]],
        where: str,
        *,
        dtype: str = "float64",
        gradients: bool = True,
    ) -> Future[list[list[Float64]]]:
        """Run `reference` or `parallel` on each variant of the tensors (and cotangents), in the background.

        Each answer lists output, states and, with `gradients`, the gradient of every differentiable tensor.
        """
        return self._threads["oracle"].submit(
            self._evaluate, function, inputs, variants, where, dtype, gradients
        )

    def _execute(
        self, role: str, plan: Plan, inputs: CaseInputs, where: str, poison: int, way: Mapping[str, Any]
    ) -> Executed:
        spec = self.mechanism.spec
        tensors = (*inputs.tensors, *inputs.cotangents)
        raw = {tensor.name: tensor.raw for tensor in tensors}
        order = [buffer.argument for buffer in plan.buffers if buffer.argument is not None]
        names = ([entry.name for entry in spec.state], [entry.name for entry in spec.differentiated])
        header, blobs = self._ask(
            role,
            "run",
            {
                "plan": plan.to_json(),
                "kernels": list(self.mechanism.kernels),
                "state": names[0],
                "gradients": names[1],
                "poison": poison,
                "layouts": {one.name: one.layout.to_json() for one in tensors if one.name in order},
                "way": dict(way),
            },
            [raw[name] for name in order],
            where,
        )
        refs = dict(plan.results(*names))
        if header["results"] != sorted(refs) or len(blobs) != len(refs):
            raise JudgeBroken(f"the executor answered {header['results']}, expected {sorted(refs)}")
        results = {
            name: to_float64(
                np.frombuffer(blob, FORMATS[refs[name].dtype].storage), refs[name].dtype
            ).reshape(refs[name].shape)
            for name, blob in zip(header["results"], blobs, strict=True)
        }
        return Executed(
            results=results,
            raw=dict(zip(header["results"], blobs, strict=True)),
            uncovered=header["uncovered"],
            changed=tuple(header["changed"]),
            guards=tuple(header["guards"]),
            events=tuple(header["events"]),
            counters=header["counters"],
        )

    def _evaluate(
        self,
        function: str,
        inputs: CaseInputs,
        variants: Sequence[Sequence[bytes]],
        where: str,
        dtype: str,
        gradients: bool,
    ) -> list[list[Float64]]:
        spec = self.mechanism.spec
        entries = spec.differentiated
        cotangents = inputs.cotangents if gradients else ()
        tensors = (*inputs.tensors, *cotangents)
        header, blobs = self._ask(
            "oracle",
            "evaluate",
            {
                "function": function,
                "inputs": len(spec.arguments),
                "constants": dict(spec.constants),
                "shapes": [list(tensor.values.shape) for tensor in tensors],
                "dtypes": ["int64" if tensor.domain == "index" else dtype for tensor in tensors],
                "differentiable": [entry.differentiable for entry in entries],
                "cotangents": len(cotangents),
                "variants": len(variants),
            },
            [blob for variant in variants for blob in variant],
            where,
        )
        shapes = expected_shapes(spec, inputs, gradients=gradients)
        if header["shapes"] != [list(shape) for shape in shapes]:
            raise Rejected(
                Finding(
                    rule="CON-REFERENCE",
                    where=where,
                    message=f"{function}: expected results of shapes {_shapes(shapes)}, "
                    f"got {_shapes(header['shapes'])}",
                )
            )
        results: list[list[Float64]] = []
        for variant in range(len(variants)):
            part = blobs[variant * len(shapes) : (variant + 1) * len(shapes)]
            results.append(
                [
                    np.frombuffer(blob, dtype).reshape(shape).astype(np.float64)
                    for blob, shape in zip(part, shapes, strict=True)
                ]
            )
        return results

    def _ask(
        self, role: str, method: str, header: dict[str, Any], blobs: Sequence[bytes], where: str
    ) -> tuple[dict[str, Any], list[bytes]]:
        try:
            return self._workers[role].call(method, header, blobs)
        except RemoteRefusal as refusal:
            finding = Finding(rule=refusal.rule, message=refusal.message, line=refusal.line, where=where)
            raise Rejected(finding) from None
        except WorkerFailure as failure:
            rule, what = WORKER_RULES[role]
            if failure.kind == "timeout":
                rule = "ADM-TIMEOUT"
            raise Rejected(
                Finding(
                    rule=rule,
                    where=where,
                    message=f"{what} ended without an answer ({failure.kind}): {failure.detail}; "
                    "expected it to return",
                )
            ) from None


def expected_shapes(spec: Spec, inputs: CaseInputs, *, gradients: bool) -> list[tuple[int, ...]]:
    """Shapes of output, states and, if asked, the gradients of the differentiable tensors."""
    shapes = [tensor.values.shape for tensor in inputs.cotangents]
    if gradients:
        shapes += [
            tensor.values.shape
            for tensor, entry in zip(inputs.tensors, spec.differentiated, strict=True)
            if entry.differentiable
        ]
    return shapes


def oracle_blobs(inputs: CaseInputs) -> list[bytes]:
    """One variant: the values of every tensor and cotangent, in float64."""
    return stack_raw((*inputs.tensors, *inputs.cotangents))


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join("(" + ", ".join(map(str, shape)) + ")" for shape in shapes)
