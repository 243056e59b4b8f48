"""Evaluations that are known are not run again; those that are run are kept the moment they are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from harness.compose.engines.protocol import Engine, WorkerDied
from harness.compose.proxies.request import ProxyRequest, ProxyResult
from harness.errors import HarnessError


class KnownResults(Protocol):
    """Results by request; what was put is found again. `proxies.cache.ResultCache` keeps them on a disk."""

    def get(self, request: ProxyRequest) -> ProxyResult | None: ...

    def put(self, request: ProxyRequest, result: ProxyResult) -> None: ...


class MemoryCache:
    """Results of this process."""

    def __init__(self) -> None:
        self._results: dict[str, ProxyResult] = {}

    def get(self, request: ProxyRequest) -> ProxyResult | None:
        return self._results.get(request.key())

    def put(self, request: ProxyRequest, result: ProxyResult) -> None:
        self._results[request.key()] = result


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`result` is None where every worker that tried died. `cached` says that nothing was run for it."""

    request: ProxyRequest
    result: ProxyResult | None
    cached: bool


class Evaluations:
    """An engine behind a cache."""

    def __init__(self, engine: Engine, cache: KnownResults) -> None:
        self._engine = engine
        self._cache = cache

    def answers(self, requests: Sequence[ProxyRequest]) -> Iterator[Answer]:
        """One answer per request, in their order, each as soon as it and all before it are there.

        Equal requests are run once. A result is in the cache before it is yielded, also one that has to wait
        for its turn, so ending early loses only what was still running. Raises HarnessError where every one
        of several compositions ended its workers: that is the machine's doing, not theirs.
        """
        keys = [request.key() for request in requests]
        known = {
            key: Answer(request=request, result=result, cached=True)
            for key, request in zip(keys, requests, strict=True)
            if (result := self._cache.get(request)) is not None
        }
        fresh = self._fresh({k: r for k, r in zip(keys, requests, strict=True) if k not in known})
        for key in keys:
            while key not in known:
                known.update([next(fresh)])
            yield known[key]
            known[key] = replace(known[key], cached=True)  # of equal requests only the first was run

    def _fresh(self, missing: dict[str, ProxyRequest]) -> Iterator[tuple[str, Answer]]:
        """(key, answer) of what has to be run, as it comes; those without a result last."""
        keys, requests = list(missing), list(missing.values())
        try:
            for position, result in self._engine.completed(requests):
                self._cache.put(requests[position], result)
                yield keys[position], Answer(request=requests[position], result=result, cached=False)
        except WorkerDied as death:
            if len(death.lost) == len(requests) and len({request.tokens for request in requests}) > 1:
                raise HarnessError(
                    f"expected answers from workers, got none: {death}. Look at the machine's memory, then "
                    "run the same command again; nothing finished is lost."
                ) from None
            for position in death.lost:
                yield keys[position], Answer(request=requests[position], result=None, cached=False)
