"""What runs in a worker process."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from harness.compose.engines.protocol import THREADS, Evaluate
from harness.compose.proxies.request import ProxyRequest, ProxyResult


@dataclass(frozen=True, kw_only=True)
class Call:
    """An evaluation by name, `module:function`, and the keywords it is called with besides the request.

    A name and not the function: unpickling a function loads its module, and torch with it, before the process
    was told to compute with one thread.
    """

    name: str
    keywords: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, evaluate: Evaluate) -> Call:
        """Raises ValueError for what a fresh process could not import."""
        keywords: Mapping[str, Any] = {}
        function = evaluate
        if isinstance(evaluate, functools.partial):
            if evaluate.args:
                raise ValueError(f"evaluate: expected keywords only, got the positions {evaluate.args}")
            function, keywords = evaluate.func, evaluate.keywords
        module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
        if not module or module == "__main__" or not name.isidentifier():
            raise ValueError(
                f"evaluate: expected a function at the top of an importable module, got {evaluate!r}"
            )
        return cls(name=f"{module}:{name}", keywords=dict(keywords))

    def __call__(self, request: ProxyRequest) -> ProxyResult:
        """Evaluate in this process, which computes with one thread from the first call on."""
        return _load(self.name)(request, **self.keywords)


@functools.cache
def _load(name: str) -> Callable[..., ProxyResult]:
    """The environment is set before the module loads; torch is told too, since its build may not listen."""
    os.environ.update(THREADS)
    module, _, function = name.partition(":")
    evaluate = cast("Callable[..., ProxyResult]", getattr(importlib.import_module(module), function))
    torch = sys.modules.get("torch")
    if torch is not None:
        cast("Callable[[int], None]", torch.set_num_threads)(1)
    return evaluate
