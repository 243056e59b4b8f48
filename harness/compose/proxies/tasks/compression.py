"""Compression: a sequence of random tokens, to be told again from the last hidden state alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.compose.proxies.tasks.contract import IGNORE, Draw, Examples, Readout


@dataclass(frozen=True, kw_only=True)
class Compression:
    """MAD's compression: T - 1 random tokens, then the token that says "compress".

    MAD trains an auto-encoder: the hidden state at the last token, plus a sine code of position t, goes
    through a small MLP that must give back token t. Readout "last" asks for exactly that (`readout.py`).
    Every random token is scored; the last, always the same, is not (MAD scores it too, which lifts its
    accuracies by 1 / T).
    """

    length: int
    tokens: int
    readout: Readout = "last"

    @property
    def vocab(self) -> int:
        return self.tokens + 1

    @property
    def chance(self) -> float:
        return 1.0 / self.tokens

    def sample(self, draw: Draw) -> Examples:
        ids = draw.rng.integers(0, self.tokens, (draw.count, self.length))
        ids[:, -1] = self.tokens
        targets = ids.copy()
        targets[:, -1] = IGNORE
        return Examples(ids=ids, targets=np.ascontiguousarray(targets))
