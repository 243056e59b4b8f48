"""Searchers by name. What a searcher needs is loaded when it is asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import cast

from harness.compose.extras import extra
from harness.compose.search.protocol import Searcher, SearchSpace
from harness.errors import WrongUsage

SEARCHERS: Mapping[str, str] = {
    "random": "harness.compose.search.random_search:RandomSearch",
    "tpe": "harness.compose.search.tpe:TPE",
    "evolution": "harness.compose.search.evolution:Evolution",
    "exhaustive": "harness.compose.search.exhaustive:ExhaustiveSearch",
}
"""Name -> `module:class`; a class has `for_budget(space, seed, budget)`, which sizes what depends on it."""


def searcher(name: str, space: SearchSpace, seed: int, *, budget: int) -> Searcher:
    """The searcher of that name, sized for `budget` trials.

    Raises WrongUsage for a name there is not, HarnessError where its library is not installed.
    """
    if name not in SEARCHERS:
        near = difflib.get_close_matches(name, SEARCHERS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Choose one of {', '.join(SEARCHERS)}."
        raise WrongUsage(f"searcher: expected a known name, got {name!r}. {hint}")
    module, _, attribute = SEARCHERS[name].partition(":")
    with extra("compose"):
        build = getattr(importlib.import_module(module), attribute).for_budget
    return cast("Searcher", build(space, seed, budget))
