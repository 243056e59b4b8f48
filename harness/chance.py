"""Random choices that repeat: generators derived from the root seed, and draws by integer weights."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from verify.seeds import derive

_Choice = TypeVar("_Choice")


def generator(seed: int, *labels: str | int) -> random.Random:
    """A generator of its own for one purpose, named by `labels`."""
    return random.Random(derive(seed, *labels))  # noqa: S311  repeatable on purpose


def pick(rng: random.Random, options: Sequence[_Choice]) -> _Choice:
    """One of the options, each as likely."""
    return options[rng.randrange(len(options))]


def pick_weighted(rng: random.Random, options: Sequence[tuple[int, _Choice]]) -> _Choice:
    """One option, as likely as its weight (a whole number, the sum positive) among all."""
    point = rng.randrange(sum(weight for weight, _ in options))
    for weight, option in options:
        if point < weight:
            return option
        point -= weight
    raise AssertionError("a point below the total lies in one of the parts")
