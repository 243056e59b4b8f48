"""A composition: which primitive each layer is, as a tuple of tokens.

Two ways to write it: tokens apart by spaces (`mA M Mb M`), or runs (`2A+5M+2A`, Composer's form, where `A` is
`mA`). A mechanism's token is its id, eight characters; where the id begins with a digit, a count before it
needs a star (`3*7pug5cm5`).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import groupby

from harness.errors import WrongUsage

ATTENTION, MLP, MAMBA = "mA", "M", "Mb"
_RUN = re.compile(r"(?:(?P<count>[0-9]+)\*|(?P<bare>[0-9]+)(?=[A-Za-z]))?(?P<name>[A-Za-z0-9][A-Za-z0-9_-]*)")
_ID = re.compile(r"[a-z2-7]{8}")
_SHORT = {"A": ATTENTION}
MOST_LAYERS = 4096
"""Of one kind in a run: a slip of the finger is no model."""


@dataclass(frozen=True, order=True)
class Composition:
    """Tokens from the first layer to the last; equal compositions are equal values."""

    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.tokens:
            raise WrongUsage("composition: expected at least one primitive, got none. Write 'mA M', say.")

    def __len__(self) -> int:
        return len(self.tokens)

    def __str__(self) -> str:
        """Tokens apart by spaces: what `parse` reads back."""
        return " ".join(self.tokens)

    @property
    def runs(self) -> tuple[tuple[str, int], ...]:
        """(token, how many in a row), in order."""
        return tuple((token, len(list(same))) for token, same in groupby(self.tokens))

    def run_length(self) -> str:
        """Runs joined by `+`: `2mA+M+5Mb`, with a star before names that begin with a digit."""
        return "+".join(_written(token, count) for token, count in self.runs)

    def counts(self) -> Counter[str]:
        """How many layers of each primitive."""
        return Counter(self.tokens)

    @classmethod
    def from_runs(cls, runs: tuple[tuple[str, int], ...]) -> Composition:
        """The composition with these (token, count) runs."""
        return cls(tuple(token for token, count in runs for _ in range(count)))


def alternating(layers: int) -> Composition:
    """`mA M mA M ...`, as in a transformer: what other compositions are set beside."""
    return Composition(tuple((ATTENTION, MLP)[layer % 2] for layer in range(layers)))


def parse(text: str) -> Composition:
    """Read either form. Raises WrongUsage where a part is no token or a count is zero."""
    parts = re.split(r"[+\s]+", text.strip())
    return Composition(tuple(token for part in parts for token in _run(part, text)))


def _run(part: str, text: str) -> list[str]:
    if _ID.fullmatch(part):  # it may begin with a digit that is no count
        return [part]
    found = _RUN.fullmatch(part)
    if found is None:
        raise WrongUsage(
            f"composition {text!r}: expected tokens apart by spaces ('mA M Mb') or runs ('2A+5M'), "
            f"got the part {part!r}."
        )
    digits = found["count"] or found["bare"] or "1"
    count = int(digits[:9])
    if not 1 <= count <= MOST_LAYERS or len(digits) > len(str(MOST_LAYERS)):
        raise WrongUsage(
            f"composition {text[:200]!r}: expected counts from 1 to {MOST_LAYERS}, got {part[:40]!r}."
        )
    return [_SHORT.get(found["name"], found["name"])] * count


def _written(token: str, count: int) -> str:
    if count == 1:
        return token
    return f"{count}{'*' if token[0].isdigit() else ''}{token}"
