"""Evaluations on Ray: on the cluster that RAY_ADDRESS names, or on one of this machine's own.

Every evaluation is a task with `cpus` processors and one torch thread. Ray starts it again when its worker
dies. Ray tells workers where this process imports from; what a node lacks there is the cluster's matter.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from harness.compose.engines.protocol import TRIES, Evaluate, WorkerDied, in_order
from harness.compose.engines.worker import Call
from harness.compose.extras import extra
from harness.compose.proxies.request import ProxyRequest, ProxyResult
from harness.errors import HarnessError

_MEMORY = 80 * 2**20
"""Bytes of a local object store: Ray's least. Requests and results are a few kilobytes."""

_PATIENCE = 5.0
"""Seconds to wait for a cluster to accept a connection."""


class RayEngine:
    """As many evaluations at once as the cluster has room for; an `Engine`."""

    def __init__(
        self,
        evaluate: Evaluate,
        *,
        workers: int | None = None,
        cpus: float = 1.0,
        resources: Mapping[str, float] | None = None,
    ) -> None:
        """Connect to the cluster at RAY_ADDRESS, or start a local one with `workers` processors.

        `cpus` and `resources` (Ray's custom ones) are what one evaluation takes. Raises HarnessError where
        Ray is not installed or the cluster does not answer.
        """
        call = Call.of(evaluate)
        with extra("ray"):
            import ray  # noqa: PLC0415  only this engine needs it
        self._ray: Any = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            self._connect(workers)
        self._call = call
        self._task: Any = ray.remote(_call).options(
            num_cpus=cpus,
            resources=dict(resources or {}),
            max_retries=TRIES - 1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End a local cluster; leave another one. A cluster that the caller had connected to stays so."""
        if self._ours and self._ray.is_initialized():
            self._ray.shutdown()

    def run(self, requests: Sequence[ProxyRequest]) -> Iterator[ProxyResult]:
        return in_order(self.completed(requests))

    def completed(self, requests: Sequence[ProxyRequest]) -> Iterator[tuple[int, ProxyResult]]:
        ray = self._ray
        pending = {self._task.remote(self._call, request): n for n, request in enumerate(requests)}
        lost: dict[int, str] = {}
        try:
            while pending:
                (ready, *_), _ = ray.wait(list(pending), num_returns=1)
                position = pending.pop(ready)
                try:
                    result = ray.get(ready)
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as death:
                    lost[position] = type(death).__name__
                except ray.exceptions.RayTaskError as error:
                    raise (error.cause or error) from error
                else:
                    yield position, result
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)
        if lost:
            raise WorkerDied(lost, requests)

    def _connect(self, workers: int | None) -> None:
        address = os.environ.get("RAY_ADDRESS")
        # A laptop's run reports to nobody, and progress lines on stderr are ours.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address:
                _check_reachable(address)
                self._ray.init(address=address, **quiet)
            else:
                processors = workers or os.cpu_count() or 1
                self._ray.init(
                    address="local",
                    num_cpus=processors,
                    object_store_memory=_MEMORY,
                    include_dashboard=False,
                    **quiet,
                )
        except (OSError, RuntimeError, ValueError) as error:
            where = f"the Ray cluster of RAY_ADDRESS={address}" if address else "a local Ray cluster"
            raise HarnessError(
                f"expected {where}, got {' '.join(str(error).split())}. Set RAY_ADDRESS to one that runs, "
                "unset it, or use the local engine."
            ) from None


def _check_reachable(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT: Ray itself tries for minutes before it says so."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def _call(call: Call, request: ProxyRequest) -> ProxyResult:
    return call(request)
