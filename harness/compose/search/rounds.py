"""One round of proposals without repeats, as far as a bounded number of draws gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from harness.chance import generator
from harness.compose.composition import Composition
from harness.compose.search.protocol import SearchSpace, Trial

Draw = Callable[[int, int], Composition]
"""(trial number, attempt from 0) -> a proposal; a repeat asks for the next attempt."""

TRIES = 32
"""Draws of one kind before the next kind, and then a repeat, is let through."""


def fill_round(
    space: SearchSpace,
    *,
    seed: int,
    first: int,
    count: int,
    history: Sequence[Trial],
    draw: Draw,
    tries: int = TRIES,
) -> list[Composition]:
    """Draw trials `first` to `first + count - 1`; fewer where the space is used up.

    After `tries` repeats of the searcher's own a trial is drawn uniformly. A repeat that remains after that
    is returned as it is: whoever evaluates records a duplicate.
    """
    seen = {trial.composition for trial in history}
    chosen: list[Composition] = []
    for number in range(first, first + count):
        if len(seen) >= space.size:
            break
        own = (draw(number, attempt) for attempt in range(tries))
        fallback = (uniform(space, seed, number, attempt) for attempt in range(TRIES))
        chosen.append(_first_unseen(chain(own, fallback), seen))
        seen.add(chosen[-1])
    return chosen


def uniform(space: SearchSpace, seed: int, number: int, attempt: int) -> Composition:
    """The uniform draw of a trial: the same for every searcher with this seed, which pairs their starts."""
    return space.draw(generator(seed, "uniform", number, attempt))


def _first_unseen(draws: Iterable[Composition], seen: set[Composition]) -> Composition:
    """The first that is new, or the last one."""
    for composition in draws:
        if composition not in seen:
            break
    return composition
