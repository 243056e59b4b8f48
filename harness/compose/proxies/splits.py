"""Disjoint examples for training and for three evaluations, by their content.

Every sequence belongs to one of sixteen buckets, by a hash of its tokens that knows neither seed nor purpose:
thirteen are training's, one each is for search, selection and final. What is drawn for one purpose and falls
into the bucket of another is drawn again. So no sequence serves two purposes, under any seed, even where a
task has so few sequences that chance would repeat them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from harness.compose.proxies.philox import generator
from harness.compose.proxies.request import Split
from harness.compose.proxies.tasks.contract import Draw, Examples, Ids, Task, joined
from verify.seeds import derive

Purpose = Literal["train", "search", "selection", "final"]

BUCKETS = 16
_OF_EVALUATION: dict[Purpose, int] = {split: BUCKETS - 1 - i for i, split in enumerate(get_args(Split))}
_MAX_AT_ONCE = 1 << 20
"""Tokens drawn in one go: bounds the memory where fifteen of sixteen examples are drawn again."""
_MAX_ROUNDS = 10_000


@dataclass(frozen=True, kw_only=True)
class ExampleSource:
    """All examples of a run; `label` (task and preset) and `seed` keep runs apart."""

    label: str
    seed: int

    def batch(self, task: Task, purpose: Purpose, index: int, count: int) -> Examples:
        """Batch number `index` of a purpose: `count` examples, equal for equal arguments.

        Raises ValueError for a task that hardly ever gives an example of this purpose.
        """
        rng = generator(self.seed, "examples", self.label, purpose, index)
        found: list[Examples] = []
        missing = count
        for _ in range(_MAX_ROUNDS):
            draw = Draw(
                rng=rng,
                count=_at_once(task, purpose, missing),
                world=derive(self.seed, "world", self.label),
                training=purpose == "train",
            )
            drawn = task.sample(draw)
            found.append(drawn.where(belongs(drawn.ids, purpose)).first(missing))
            missing -= len(found[-1])
            if missing == 0:
                return found[0] if len(found) == 1 else joined(found)
        raise ValueError(f"{self.label}: expected a task with more than a few sequences, got {task}")


def belongs(ids: Ids, purpose: Purpose) -> NDArray[np.bool_]:
    """(N,): which sequences (N, T) are of this purpose."""
    found = buckets(ids)
    if purpose == "train":
        return np.asarray(found < BUCKETS - len(_OF_EVALUATION))
    return np.asarray(found == _OF_EVALUATION[purpose])


def buckets(ids: Ids) -> NDArray[np.int64]:
    """(N,): the bucket of each sequence (N, T), 0 to 15: a multilinear hash modulo 2^64, its bits mixed."""
    sums = (ids.astype(np.uint64) + np.uint64(1)) @ _multipliers(ids.shape[1])
    mixed = (sums ^ (sums >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return np.asarray((mixed >> np.uint64(60)).astype(np.int64))


@lru_cache(maxsize=64)
def _multipliers(length: int) -> NDArray[np.uint64]:
    odd = generator(0, "buckets", length).integers(0, 1 << 63, length, dtype=np.uint64)
    return odd * np.uint64(2) + np.uint64(1)


def _at_once(task: Task, purpose: Purpose, missing: int) -> int:
    """How many to draw so that about enough remain."""
    share = 1.0 if purpose != "train" else BUCKETS - len(_OF_EVALUATION)
    wanted = int(1.1 * missing * BUCKETS / share) + 8
    return max(1, min(wanted, _MAX_AT_ONCE // task.length))
