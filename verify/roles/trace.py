"""Role `trace`: run the wrappers on fake tensors and answer with the launch plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verify.plan.request import TraceRequest
from verify.plan.signatures import kernel_signatures
from verify.plan.tracer import trace, warm_up


class Handler:
    """Traces requests for one mechanism."""

    def __init__(self, source: str) -> None:
        self._source = source

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """`trace`: {"request", "kernels"} -> {"plan"}."""
        if method != "trace" or blobs:
            raise ValueError(f"role trace: expected the method trace without blobs, got {method}")
        signatures = kernel_signatures(self._source, tuple(header["kernels"]))
        plan = trace(self._source, TraceRequest.from_json(header["request"]), signatures)
        return {"plan": plan.to_json()}, []


def open(source: bytes) -> Handler:
    return Handler(source.decode())


warm_up()  # once, in the warm server, instead of once in every worker
