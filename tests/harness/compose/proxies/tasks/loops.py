"""The six tasks once more, told sequence by sequence in plain loops, from the same random numbers."""

from __future__ import annotations

import numpy as np

from harness.compose.proxies.philox import generator
from harness.compose.proxies.tasks import (
    IGNORE,
    Compression,
    Draw,
    Examples,
    FuzzyRecall,
    Memorization,
    Recall,
    SelectiveCopying,
    Task,
)


def sample(task: Task, draw: Draw) -> Examples:
    told = list(
        {
            Recall: recall,
            FuzzyRecall: fuzzy,
            SelectiveCopying: copying,
            Compression: compression,
            Memorization: memorization,
        }[type(task)](task, draw)
    )
    return Examples(
        ids=np.array([ids for ids, _ in told]), targets=np.array([targets for _, targets in told])
    )


def recall(task: Recall, draw: Draw):
    rng, pairs = draw.rng, task.length // 2
    answers = rng.integers(0, task.values, (draw.count, task.keys))
    drawn = rng.integers(0, task.keys, (draw.count, pairs))
    noisy = rng.random((draw.count, pairs)) < task.noise
    spared = rng.integers(0, pairs - 1, draw.count)
    votes = rng.random((draw.count, pairs - 1))
    noise = rng.integers(0, task.noise_tokens, (draw.count, pairs, 2)) if task.noise_tokens else None
    for row in range(draw.count):
        is_noise = [bool(noisy[row, p]) and p not in (spared[row], pairs - 1) for p in range(pairs)]
        asked = max((p for p in range(pairs - 1) if not is_noise[p]), key=lambda p: votes[row, p])
        ids, targets, shown = [], [], set()
        for p in range(pairs):
            key = int(drawn[row, asked if p == pairs - 1 else p])
            if is_noise[p]:
                ids += [int(noise[row, p, i]) + task.keys + task.values for i in (0, 1)]
                targets += [IGNORE, IGNORE]
                continue
            value = int(answers[row, key]) + task.keys
            ids += [key, value]
            targets += [value if key in shown else IGNORE, IGNORE]
            shown.add(key)
        yield ids, targets


def fuzzy(task: FuzzyRecall, draw: Draw):
    rng, pairs = draw.rng, task.length // 2
    shortest = 1 if draw.training else task.longest
    key_sizes = rng.integers(shortest, task.longest + 1, (draw.count, pairs, 1))
    key_votes = rng.random((draw.count, pairs, task.keys))
    value_sizes = rng.integers(1, task.longest + 1, (draw.count, pairs, 1))
    value_votes = rng.random((draw.count, pairs, task.values))
    choice = rng.random(draw.count)
    for row in range(draw.count):
        ids, targets, known, keys = [], [], {}, []
        while True:
            p = len(keys)
            key = tuple(np.argsort(key_votes[row, p])[: key_sizes[row, p, 0]].tolist())
            fresh = [
                v + task.keys for v in np.argsort(value_votes[row, p])[: value_sizes[row, p, 0]].tolist()
            ]
            value = known.get(key, fresh)
            if len(ids) + len(key) + len(value) > task.length - 2 * task.longest:
                break
            tell(ids, targets, key, value, asks=key in known)
            known.setdefault(key, value)
            keys.append(key)
        key = keys[int(choice[row] * len(keys))]
        tell(ids, targets, key, known[key], asks=True)
        pad = task.length - len(ids)
        yield [task.keys + task.values] * pad + ids, [IGNORE] * pad + targets


def tell(ids, targets, key, value, *, asks) -> None:
    start = len(ids) + len(key)
    ids += [*key, *value]
    targets += [IGNORE] * (len(key) + len(value))
    if asks:
        targets[start - 1 : start - 1 + len(value)] = value


def copying(task: SelectiveCopying, draw: Draw):
    copied = draw.rng.integers(0, task.tokens, (draw.count, task.copied)).tolist()
    before = draw.rng.integers(0, task.copied, (draw.count, task.blanks)).tolist()
    for told, places in zip(copied, before, strict=True):
        ids = []
        for i, token in enumerate(told):
            ids += [task.tokens] * places.count(i) + [token]
        yield (
            [*ids, task.tokens + 1, *[task.tokens] * task.copied],
            [IGNORE] * (task.length - task.copied) + told,
        )


def compression(task: Compression, draw: Draw):
    for row in draw.rng.integers(0, task.tokens, (draw.count, task.length)).tolist():
        yield [*row[:-1], task.tokens], [*row[:-1], IGNORE]


def memorization(task: Memorization, draw: Draw):
    values = generator(draw.world, "map").permutation(task.pairs).tolist()
    for row in draw.rng.integers(0, task.pairs, (draw.count, task.length // 2)).tolist():
        ids, targets = [], []
        for key in row:
            ids += [key, 2 * task.pairs]
            targets += [IGNORE, values[key] + task.pairs]
        yield ids, targets
