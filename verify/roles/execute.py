"""Role `execute`: run launch plans in the instrumented interpreter. No candidate Python runs here, only its
kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from verify.plan.executor import PlanExecutor, Way
from verify.plan.format import Plan
from verify.plan.request import Layout
from verify.sandbox.wire import Refusal
from verify.source.static import blank_out
from verify.triton_cpu.interpreter.launch import KernelError, WorkLimitExceeded, WorkLimits, language
from verify.triton_cpu.selftest import runner

LIMITS = WorkLimits(launches=1024, programs=1 << 16, loop_steps=1 << 17)
"""For one compared run; the dearest honest one (attention in both directions over 4,300 tokens, 55,000 steps)
takes less than half of this.
"""


class Handler:
    """Executes plans of one mechanism."""

    def __init__(self, source: str) -> None:
        self._executor = PlanExecutor(blank_out(source, keep="kernels"), limits=LIMITS)

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """`run`: a plan and the raw bytes of its argument buffers, in the order of the plan -> every result.

        Header: plan, kernels, state, gradients (names), poison, layouts (by argument), way.
        """
        if method != "run":
            raise ValueError(f"role execute: expected the method run, got {method}")
        declared = header["plan"]["buffers"]
        names = [buffer["argument"] for buffer in declared if buffer["argument"] is not None]
        arguments = dict(zip(names, blobs, strict=True))
        plan = Plan.from_json(
            header["plan"],
            kernels=header["kernels"],
            arguments={name: len(blob) for name, blob in arguments.items()},
        )
        try:
            done = self._executor.run(
                plan,
                arguments,
                (tuple(header["state"]), tuple(header["gradients"])),
                poison=header["poison"],
                way=Way(**header["way"]),
                layouts={name: Layout.from_json(data) for name, data in header["layouts"].items()},
            )
        except WorkLimitExceeded as error:
            raise Refusal("NUM-WORK-LIMIT", f"{error}", None) from None
        except KernelError as error:
            raise Refusal("NUM-KERNEL-ERROR", f"{error.kernel}: {error.message}", error.line) from None
        results = sorted(done.results)
        answer = {
            "results": results,
            "uncovered": done.uncovered,
            "changed": list(done.changed),
            "guards": list(done.guards),
            "events": [asdict(event) for event in done.events],
            "counters": done.counters,
        }
        return answer, [done.results[name] for name in results]


def open(source: bytes) -> Handler:
    return Handler(source.decode())


def _ready() -> None:
    """Build the language layer once, in the warm server, and refuse to serve if a known answer is wrong."""
    language()
    failures = runner.run()
    if failures:
        raise RuntimeError("the interpreter fails its known-answer tests: " + "; ".join(failures))


_ready()
