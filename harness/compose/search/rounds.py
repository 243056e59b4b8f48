"""One round of proposals without repeats, as far as a bounded number of draws gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.chance import generator
from harness.compose.composition import Composition
from harness.compose.search.protocol import SearchSpace, Trial

Draw = Callable[[int, int], Composition]
"""(trial number, attempt from 0) -> a proposal; a repeat asks for the next attempt."""

TRIES = 32
"""Draws of the searcher's own, and as many uniform ones after them, before a repeat is let through."""


def fill_round(
    space: SearchSpace, *, seed: int, first: int, count: int, history: Sequence[Trial], draw: Draw
) -> list[Composition]:
    """Draw trials `first` to `first + count - 1`; fewer where the space is used up.

    A repeat that remains after all tries is returned as it is: whoever evaluates records a duplicate.
    """
    seen = {trial.composition for trial in history}
    chosen: list[Composition] = []
    for number in range(first, first + count):
        if len(seen) >= space.size:
            break
        chosen.append(_unseen(space, seed, number, seen, draw))
        seen.add(chosen[-1])
    return chosen


def uniform(space: SearchSpace, seed: int, number: int, attempt: int) -> Composition:
    """The uniform draw of a trial: the same for every searcher with this seed, which pairs their starts."""
    return space.draw(generator(seed, "uniform", number, attempt))


def _unseen(space: SearchSpace, seed: int, number: int, seen: set[Composition], draw: Draw) -> Composition:
    for attempt in range(TRIES):
        composition = draw(number, attempt)
        if composition not in seen:
            return composition
    for attempt in range(TRIES):
        composition = uniform(space, seed, number, attempt)
        if composition not in seen:
            return composition
    return composition
