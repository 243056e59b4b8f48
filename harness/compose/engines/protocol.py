"""What an engine is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from harness.compose.proxies.request import ProxyRequest, ProxyResult

Evaluate = Callable[[ProxyRequest], ProxyResult]
"""Pure, importable by name from a fresh process, and single-threaded."""


class WorkerDied(Exception):
    """A worker ended without an answer as often as an engine retries."""


class Engine(Protocol):
    """Runs evaluations in worker processes with one torch thread each; a context manager."""

    def run(self, requests: Sequence[ProxyRequest]) -> Iterator[ProxyResult]:
        """One result per request, in their order, each as soon as it and all before it are there.

        A worker that dies is replaced and its request tried again. Raises WorkerDied after the last try.
        """

    def close(self) -> None:
        """End the workers."""
