"""Fuzzy in-context recall: keys and values are words of one to a few tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.compose.proxies.tasks.contract import IGNORE, Draw, Examples, Ids, Readout


@dataclass(frozen=True, kw_only=True)
class FuzzyRecall:
    """MAD's fuzzy in-context recall (multi-query form): pairs of a key and a value, both words.

    A word is one to `longest` different tokens, every length as likely; key and value tokens are disjoint, so
    borders can be seen. Every token of a value is asked where the same key (all of it) was shown before: the
    target stands one position earlier. As in MAD, sequences are filled up with the pad token on the left,
    the last pair always asks, and evaluation takes keys of the longest length only. Ids are `keys` key
    tokens, `values` value tokens, then the pad.
    """

    length: int
    keys: int
    values: int
    longest: int = 3
    readout: Readout = "position"

    def __post_init__(self) -> None:
        if min(self.keys, self.values) < self.longest:
            raise ValueError(
                f"longest: expected at most {min(self.keys, self.values)}, the number of different tokens, "
                f"got {self.longest}"
            )
        if self.length < 4 * self.longest:
            raise ValueError(f"length: expected {4 * self.longest} or more (two pairs), got {self.length}")

    @property
    def vocab(self) -> int:
        return self.keys + self.values + 1

    @property
    def chance(self) -> float:
        """A value's first token is one of all, a later one is not the one before it."""
        first = 2.0 / (self.longest + 1)
        return first / self.values + (1.0 - first) / max(1, self.values - 1)

    def sample(self, draw: Draw) -> Examples:
        pairs = self.length // 2
        shortest = 1 if draw.training else self.longest
        keys = self._words(draw, pairs, self.keys, shortest)
        values = self._words(draw, pairs, self.values, 1)
        used = self._used(draw.rng, keys, values)
        source = _first_equal(keys)
        values = np.take_along_axis(values, source[:, :, None], axis=1)
        asked = source < np.arange(pairs)
        return self._laid_out(keys, np.where(values < 0, -1, values + self.keys), asked, used)

    def _words(self, draw: Draw, pairs: int, tokens: int, shortest: int) -> Ids:
        """(N, pairs, longest): words of different tokens, filled up with -1."""
        sizes = draw.rng.integers(shortest, self.longest + 1, (draw.count, pairs, 1))
        order = draw.rng.random((draw.count, pairs, tokens)).argsort(axis=2)[:, :, : self.longest]
        return np.where(np.arange(self.longest) < sizes, order, -1)

    def _used(self, rng: np.random.Generator, keys: Ids, values: Ids) -> Ids:
        """(N,): how many pairs each sequence has; the key of the last becomes, in place, one of an earlier.

        As many pairs as fit while two pairs of the longest words still fit behind, then the one that asks.
        """
        source = _first_equal(keys)
        sizes = (keys >= 0).sum(2) + np.take_along_axis((values >= 0).sum(2), source, axis=1)
        fits = sizes.cumsum(axis=1) <= self.length - 2 * self.longest
        body = np.asarray(fits.sum(axis=1))
        rows, asked = np.arange(len(keys)), (rng.random(len(keys)) * body).astype(np.int64)
        keys[rows, body] = keys[rows, asked]
        return body + 1

    def _laid_out(self, keys: Ids, values: Ids, asked: NDArray[np.bool_], used: Ids) -> Examples:
        """Words one after another, ending at the last position, and a target before each asked token."""
        count, pairs, _ = keys.shape
        words = np.concatenate([keys, values], axis=2).reshape(count, -1)
        questions = np.broadcast_to(asked[:, :, None], values.shape)
        scored = np.concatenate([np.zeros_like(keys, dtype=bool), questions], axis=2).reshape(count, -1)
        inside = np.repeat(np.arange(pairs) < used[:, None], 2 * self.longest, axis=1)
        there = (words >= 0) & inside
        place = there.cumsum(axis=1) - there.sum(axis=1, keepdims=True) + self.length - 1
        row, column = np.nonzero(there)
        ids = np.full((count, self.length), self.keys + self.values)
        targets = np.full((count, self.length), IGNORE)
        ids[row, place[row, column]] = words[row, column]
        row, column = np.nonzero(there & scored)
        targets[row, place[row, column] - 1] = words[row, column]
        return Examples(ids=ids, targets=targets)


def _first_equal(words: Ids) -> Ids:
    """(N, pairs): the first pair with the same word (N, pairs, longest)."""
    base = int(words.max(initial=0)) + 2
    code = (words + 1) @ base ** np.arange(words.shape[2])
    return np.asarray((code[:, :, None] == code[:, None, :]).argmax(axis=2))
