"""What an engine is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from harness.compose.proxies.request import ProxyRequest, ProxyResult

Evaluate = Callable[[ProxyRequest], ProxyResult]
"""Pure and single-threaded; a function at the top of a module that a fresh process can import, or a
`functools.partial` of one with keywords that can be pickled.
"""

TRIES = 3
"""Worker deaths before a request is given up."""

THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""What a worker's environment says before any numerical library loads: one thread each."""


class WorkerDied(Exception):
    """A worker ended without an answer as often as an engine tries; all other requests were answered.

    `lost` are the positions of the requests without an answer.
    """

    def __init__(self, lost: Mapping[int, str], requests: Sequence[ProxyRequest]) -> None:
        """`lost` maps positions in `requests` to how the last worker ended."""
        first = min(lost)
        super().__init__(
            f"{len(lost)} of {len(requests)} evaluations ended their worker {TRIES} times, first "
            f"{' '.join(requests[first].tokens)} ({lost[first]})"
        )
        self.lost = tuple(sorted(lost))


class Engine(Protocol):
    """Runs evaluations in worker processes with one torch thread each; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def completed(self, requests: Sequence[ProxyRequest]) -> Iterator[tuple[int, ProxyResult]]:
        """(position in `requests`, result), each as soon as it is there, so the order says nothing.

        A worker that dies is replaced and its request tried again. After `TRIES` deaths the others are
        finished first; then WorkerDied names those that have no answer. What an evaluation raises is raised
        here, and nothing more is started.
        """

    def run(self, requests: Sequence[ProxyRequest]) -> Iterator[ProxyResult]:
        """One result per request, in their order, each as soon as it and all before it are there.

        Raises WorkerDied in place of the first that has none.
        """

    def close(self) -> None:
        """End the workers."""


def in_order(completed: Iterable[tuple[int, ProxyResult]]) -> Iterator[ProxyResult]:
    """The results by position, each held back until all before it are there."""
    early: dict[int, ProxyResult] = {}
    following = 0
    for position, result in completed:
        early[position] = result
        while following in early:
            yield early.pop(following)
            following += 1
