"""Selective copying: tokens among blanks, to be told again in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.compose.proxies.tasks.contract import IGNORE, Draw, Examples, Ids, Readout


@dataclass(frozen=True, kw_only=True)
class SelectiveCopying:
    """MAD's selective copying: `copied` tokens with blanks put in between, the copy token, `copied` blanks.

    The target at the i-th blank after the copy token is the i-th token. As in MAD, every blank of the first
    part is put before a token drawn evenly, so the copy token always follows a token. Ids are `tokens`
    tokens, then the blank, then the copy token.
    """

    length: int
    tokens: int
    copied: int
    readout: Readout = "position"

    def __post_init__(self) -> None:
        if self.blanks < 0:
            raise ValueError(
                f"length: expected {2 * self.copied + 1} or more for {self.copied} tokens, got {self.length}"
            )

    @property
    def blanks(self) -> int:
        """How many blanks the first part holds."""
        return self.length - 2 * self.copied - 1

    @property
    def vocab(self) -> int:
        return self.tokens + 2

    @property
    def chance(self) -> float:
        return 1.0 / self.tokens

    def sample(self, draw: Draw) -> Examples:
        copied = draw.rng.integers(0, self.tokens, (draw.count, self.copied))
        before = draw.rng.integers(0, self.copied, (draw.count, self.blanks))
        ids = np.full((draw.count, self.length), self.tokens)
        np.put_along_axis(ids, _places(before, self.copied), copied, axis=1)
        ids[:, self.copied + self.blanks] = self.tokens + 1
        targets = np.full((draw.count, self.length), IGNORE)
        targets[:, -self.copied :] = copied
        return Examples(ids=ids, targets=targets)


def _places(before: Ids, copied: int) -> Ids:
    """(N, copied): where each token stands when every blank (N, blanks) stands before the token it names."""
    rows = np.arange(len(before))[:, None]
    blanks = np.bincount((rows * copied + before).ravel(), minlength=len(before) * copied)
    return np.asarray(blanks.reshape(len(before), copied).cumsum(axis=1) + np.arange(copied))
