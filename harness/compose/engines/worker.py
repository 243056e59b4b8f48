"""What runs in a worker process."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import cast

from harness.compose.engines.protocol import THREADS, Evaluate


def name_of(evaluate: Evaluate) -> str:
    """`module:function`, which a fresh process can import. Raises ValueError for what has no such name."""
    module, name = getattr(evaluate, "__module__", None), getattr(evaluate, "__qualname__", "")
    if not module or module == "__main__" or not name.isidentifier():
        raise ValueError(
            f"evaluate: expected a function at the top of an importable module, got {evaluate!r}"
        )
    return f"{module}:{name}"


def load(name: str) -> Evaluate:
    """The function of that name, in a process that computes with one thread.

    The environment is set before the module, and torch with it, loads; torch is told again, since what it
    was built with may not listen.
    """
    os.environ.update(THREADS)
    module, _, function = name.partition(":")
    evaluate = cast("Evaluate", getattr(importlib.import_module(module), function))
    torch = sys.modules.get("torch")
    if torch is not None:
        cast("Callable[[int], None]", torch.set_num_threads)(1)
    return evaluate
