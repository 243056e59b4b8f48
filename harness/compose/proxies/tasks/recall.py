"""In-context recall, also with noise: pairs of a key and its value; a key shown before asks for its value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.compose.proxies.tasks.contract import IGNORE, Draw, Examples, Ids, Readout


@dataclass(frozen=True, kw_only=True)
class Recall:
    """MAD's in-context recall and, where `noise` is positive, noisy in-context recall (multi-query form).

    A sequence is T / 2 pairs (key, value); ids are `keys` keys, then `values` values, then `noise_tokens`
    tokens of noise. Every sequence has its own map from keys to values. A pair is two tokens of noise with
    probability `noise`. Targets stand at keys that were shown before: the value that follows. The last pair
    always asks, so that no sequence is without a question.
    """

    length: int
    keys: int
    values: int
    noise: float = 0.0
    noise_tokens: int = 0
    readout: Readout = "position"

    def __post_init__(self) -> None:
        if self.length % 2 or self.length < 4:
            raise ValueError(f"length: expected an even number from 4, got {self.length}")
        if not 0.0 <= self.noise < 1.0 or (self.noise > 0 and not self.noise_tokens):
            raise ValueError(
                f"noise: expected a share below 1 and noise_tokens with it, got {self.noise} of "
                f"{self.noise_tokens} tokens"
            )

    @property
    def vocab(self) -> int:
        return self.keys + self.values + self.noise_tokens

    @property
    def chance(self) -> float:
        return 1.0 / self.values

    def sample(self, draw: Draw) -> Examples:
        rng, count, pairs = draw.rng, draw.count, self.length // 2
        answers = rng.integers(0, self.values, (count, self.keys)) + self.keys
        keys = rng.integers(0, self.keys, (count, pairs))
        noisy = self._noisy_pairs(rng, count)
        keys[:, -1] = _asked(rng, keys, noisy)
        values = np.take_along_axis(answers, keys, axis=1)
        ids = np.stack([keys, values], axis=2)
        targets = np.full_like(ids, IGNORE)
        shown = _shown_before(keys, noisy, self.keys)
        targets[:, :, 0][shown] = values[shown]
        if self.noise_tokens:
            noise = rng.integers(0, self.noise_tokens, ids.shape) + self.keys + self.values
            ids = np.where(noisy[:, :, None], noise, ids)
        return Examples(ids=ids.reshape(count, -1), targets=targets.reshape(count, -1))

    def _noisy_pairs(self, rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
        """(N, pairs): which pairs are noise; never the last one, nor one more, drawn, that it may ask for."""
        pairs = self.length // 2
        noisy = rng.random((count, pairs)) < self.noise
        noisy[np.arange(count), rng.integers(0, pairs - 1, count)] = False
        noisy[:, -1] = False
        return noisy


def _asked(rng: np.random.Generator, keys: Ids, noisy: NDArray[np.bool_]) -> Ids:
    """(N,): for every sequence the key of one earlier pair that is no noise, each pair as likely."""
    weight = np.where(noisy[:, :-1], -1.0, rng.random((len(keys), keys.shape[1] - 1)))
    return np.asarray(keys[np.arange(len(keys)), weight.argmax(axis=1)])


def _shown_before(keys: Ids, noisy: NDArray[np.bool_], vocab: int) -> NDArray[np.bool_]:
    """(N, pairs): whether a pair that is no noise has the key of an earlier one."""
    count, pairs = keys.shape
    first = np.full((count, vocab + 1), pairs)
    filed = np.where(noisy, vocab, keys)
    np.minimum.at(first, (np.arange(count)[:, None], filed), np.arange(pairs)[None, :])
    return (np.take_along_axis(first, filed, axis=1) < np.arange(pairs)) & ~noisy
