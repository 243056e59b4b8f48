from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest

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
from tests.harness.compose.proxies.tasks import loops

TASKS: list[Task] = [
    Recall(length=4, keys=1, values=2),
    Recall(length=32, keys=8, values=8),
    Recall(length=34, keys=5, values=3, noise=0.4, noise_tokens=4),
    FuzzyRecall(length=12, keys=3, values=4, longest=3),
    FuzzyRecall(length=40, keys=5, values=6, longest=2),
    SelectiveCopying(length=7, tokens=3, copied=3),
    SelectiveCopying(length=40, tokens=14, copied=6),
    Compression(length=9, tokens=5),
    Memorization(length=12, pairs=7),
]
IDS = [f"{type(task).__name__}-{task.length}" for task in TASKS]


def drawn(task: Task, count: int = 200, *, training: bool = True, seed: int = 3) -> Examples:
    return task.sample(Draw(rng=generator(seed, "test"), count=count, world=11, training=training))


@pytest.mark.parametrize("task", TASKS, ids=IDS)
@pytest.mark.parametrize("training", [True, False])
def test_vectorised_examples_are_those_of_plain_loops(task: Task, training: bool) -> None:
    draw = Draw(rng=generator(5, "loops"), count=60, world=11, training=training)
    expected = loops.sample(task, draw)
    found = task.sample(Draw(rng=generator(5, "loops"), count=60, world=11, training=training))
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.targets.tolist() == expected.targets.tolist()


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_ids_and_targets_are_tokens_and_every_sequence_asks(task: Task) -> None:
    examples = drawn(task)
    assert examples.ids.shape == examples.targets.shape == (200, task.length)
    assert examples.ids.dtype == examples.targets.dtype == np.int64
    assert examples.ids.min() >= 0
    assert examples.ids.max() < task.vocab
    asked = examples.targets != IGNORE
    assert asked.any(axis=1).all()
    assert examples.targets[asked].min() >= 0
    assert examples.targets[asked].max() < task.vocab


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_the_same_generator_gives_the_same_bytes(task: Task) -> None:
    assert drawn(task).ids.tobytes() == drawn(task).ids.tobytes()
    if task.vocab > 3:
        assert drawn(task).ids.tobytes() != drawn(task, seed=4).ids.tobytes()


def recall_answers(task: Recall, ids: Sequence[int]) -> list[int]:
    """What a reader of the definition would answer, position by position."""
    known: dict[int, int] = {}
    answers = [IGNORE] * len(ids)
    for at in range(0, len(ids), 2):
        if ids[at] < task.keys:
            answers[at] = known.get(ids[at], IGNORE)
            known.setdefault(ids[at], ids[at + 1])
    return answers


def fuzzy_answers(task: FuzzyRecall, ids: Sequence[int]) -> list[int]:
    """Words told apart by the kind of their tokens; a value is deducible where its key stood before."""
    kinds = [0 if i < task.keys else 1 if i < task.keys + task.values else 2 for i in ids]
    words: list[tuple[int, list[int]]] = []
    for at, kind in enumerate(kinds):
        if not words or kinds[at - 1] != kind:
            words.append((kind, []))
        words[-1][1].append(at)
    answers, known = [IGNORE] * len(ids), {}
    for (kind, key), (_, value) in pairwise(words):
        if kind == 0:
            name = tuple(ids[at] for at in key)
            if name in known:
                for offset, at in enumerate(value):
                    answers[at - 1] = known[name][offset]
            known.setdefault(name, [ids[at] for at in value])
    return answers


def copying_answers(task: SelectiveCopying, ids: Sequence[int]) -> list[int]:
    told = [i for i in ids if i < task.tokens]
    return [IGNORE] * (len(ids) - len(told)) + told


def compression_answers(task: Compression, ids: Sequence[int]) -> list[int]:
    return [i if i < task.tokens else IGNORE for i in ids]


ANSWERS: list[tuple[Task, Callable[..., list[int]]]] = [
    (TASKS[1], recall_answers),
    (TASKS[2], recall_answers),
    (TASKS[3], fuzzy_answers),
    (TASKS[4], fuzzy_answers),
    (TASKS[6], copying_answers),
    (TASKS[7], compression_answers),
]


@pytest.mark.parametrize(("task", "answers"), ANSWERS, ids=[type(task).__name__ for task, _ in ANSWERS])
@pytest.mark.parametrize("training", [True, False])
def test_every_target_can_be_deduced_and_nothing_deducible_is_left_out(task, answers, training) -> None:
    examples = drawn(task, training=training)
    for ids, targets in zip(examples.ids.tolist(), examples.targets.tolist(), strict=True):
        assert targets == answers(task, ids)


def test_memorization_answers_by_one_map_for_all_sequences_of_a_world() -> None:
    task = Memorization(length=12, pairs=7)
    examples = drawn(task)
    seen = {
        (key, value)
        for ids, targets in zip(examples.ids.tolist(), examples.targets.tolist(), strict=True)
        for key, value in zip(ids[::2], targets[1::2], strict=True)
    }
    assert sorted(key for key, _ in seen) == list(range(7))
    assert sorted(value for _, value in seen) == list(range(7, 14))
    assert set(examples.ids[:, 1::2].ravel().tolist()) == {14}


def test_fuzzy_evaluation_asks_longest_keys_only() -> None:
    task = FuzzyRecall(length=40, keys=5, values=6, longest=2)
    examples = drawn(task, training=False)
    is_key = examples.ids < task.keys
    runs = np.diff(np.flatnonzero(np.diff(np.pad(is_key, ((0, 0), (1, 1))).ravel())))[::2]
    assert set(runs.tolist()) == {2}


@pytest.mark.parametrize("task", TASKS[1:], ids=IDS[1:])
def test_chance_is_what_the_best_guess_from_one_token_reaches(task: Task) -> None:
    examples = drawn(task, 4000, seed=8)
    asked = examples.targets != IGNORE
    if task.readout == "last":
        seen = np.broadcast_to(np.arange(task.length), asked.shape)[asked]
    else:
        seen = examples.ids[asked]
    targets = examples.targets[asked]
    table = np.zeros((int(seen.max()) + 1, task.vocab))
    np.add.at(table, (seen, targets), 1)
    best = table.max(axis=1).sum() / len(targets)
    assert best == pytest.approx(task.chance, rel=0.12)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Recall(length=5, keys=2, values=2),
        lambda: Recall(length=8, keys=2, values=2, noise=0.5),
        lambda: SelectiveCopying(length=8, tokens=3, copied=4),
        lambda: FuzzyRecall(length=40, keys=2, values=6, longest=3),
        lambda: FuzzyRecall(length=11, keys=3, values=6, longest=3),
        lambda: Memorization(length=5, pairs=3),
    ],
)
def test_sizes_that_cannot_be_are_refused_with_both_numbers(wrong) -> None:
    with pytest.raises(ValueError, match=r"expected .* got "):
        wrong()
