"""In which cell of a MAP-Elites archive (Mouret & Clune 2015, arXiv 1504.04909) a mechanism belongs."""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from harness.agents.protocol import Outcome
from harness.policies.protocol import merit
from verify.source.outline import Outline
from verify.source.parse import parse


@dataclass(frozen=True, order=True, kw_only=True)
class Cell:
    """growth: how the state that decoding keeps grows with the tokens seen: `constant`, `linear` (keys and
    values of all of them), or `none` for what is not causal and never decodes.

    mixing: the skeleton, or `free`. A family alone would be too coarse: there are two.

    cost: the power of two of the modelled time at the reference shapes, in microseconds; -1 before it is
    known, which it is not for what passed the quick depth only.
    """

    growth: str
    mixing: str
    cost: int

    def __str__(self) -> str:
        time = "not timed" if self.cost < 0 else f"{2**self.cost} us"
        return f"{self.growth}, {self.mixing}, {time}"


def cell_of(outcome: Outcome) -> Cell:
    """The cell of something that passed."""
    return Cell(
        growth=_growth(outcome.proposal.source),
        mixing=outcome.proposal.skeleton,
        cost=_cost(outcome),
    )


def elites(outcomes: Iterable[Outcome]) -> dict[Cell, Outcome]:
    """The best of each cell among those that passed, by cell."""
    best: dict[Cell, Outcome] = {}
    for outcome in outcomes:
        if outcome.status not in ("admitted", "clean"):
            continue
        cell = cell_of(outcome)
        if cell not in best or merit(outcome) > merit(best[cell]):
            best[cell] = outcome
    return dict(sorted(best.items()))


def _cost(outcome: Outcome) -> int:
    times = [value for name, value in outcome.numbers.items() if name.startswith("microseconds")]
    if not times or min(times) <= 0:
        return -1
    return max(0, round(sum(map(math.log2, times)) / len(times)))


@functools.lru_cache(maxsize=4096)
def _growth(source: str) -> str:
    """What SPEC, a literal, says of the state; `linear` where it cannot be read."""
    parsed, _ = parse(source.encode())
    node = None if parsed is None else Outline(parsed.tree).assignment("SPEC")
    try:
        spec = {} if node is None else ast.literal_eval(node)
    except ValueError:
        spec = {}
    if not isinstance(spec, dict):
        return "linear"
    if spec.get("causal", True) is False:
        return "none"
    return "constant" if spec.get("state") else "linear"
