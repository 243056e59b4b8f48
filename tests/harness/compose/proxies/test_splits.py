from __future__ import annotations

from itertools import combinations, product
from typing import get_args

import numpy as np
import pytest

from harness.compose.proxies.presets import PRESETS, TaskProxy
from harness.compose.proxies.splits import BUCKETS, ExampleSource, Purpose, belongs, buckets
from harness.compose.proxies.tasks import Compression, Recall

PURPOSES = get_args(Purpose)
TINY = {task: preset.proxy for (task, name), preset in PRESETS.items() if name == "tiny" and task != "text"}


def sequences(source: ExampleSource, proxy: TaskProxy, purpose: Purpose) -> set[bytes]:
    batches = [source.batch(proxy.task, purpose, index, 64) for index in range(3)]
    return {row.tobytes() for batch in batches for row in batch.ids}


@pytest.mark.parametrize("task", TINY)
def test_no_sequence_serves_two_purposes_under_any_two_seeds(task: str) -> None:
    found = {
        (purpose, seed): sequences(ExampleSource(label=task, seed=seed), TINY[task], purpose)
        for purpose in PURPOSES
        for seed in (0, 1)
    }
    for (one, first), (other, second) in combinations(found.items(), 2):
        assert one[0] == other[0] or not first & second


def test_purposes_share_out_all_sequences_even_of_a_task_that_has_few() -> None:
    everything = np.array(list(product(range(3), repeat=6)))
    counts = [int(belongs(everything, purpose).sum()) for purpose in PURPOSES]
    assert sum(counts) == len(everything)
    assert counts[0] == pytest.approx(len(everything) * 13 / 16, rel=0.1)
    tiny = Compression(length=7, tokens=3)
    source = ExampleSource(label="few", seed=0)
    train = {row.tobytes() for row in source.batch(tiny, "train", 0, 4000).ids}
    search = {row.tobytes() for row in source.batch(tiny, "search", 0, 400).ids}
    assert len(train) > 400  # chance alone would repeat most of the 729 sequences
    assert not train & search


def test_buckets_are_even_and_hang_on_every_token() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 16, (16_000, 24))
    counts = np.bincount(buckets(ids), minlength=BUCKETS)
    assert counts.min() > 850
    assert counts.max() < 1150
    for column in range(24):
        changed = ids[:500].copy()
        changed[:, column] = (changed[:, column] + 1) % 16
        assert (buckets(changed) != buckets(ids[:500])).mean() > 0.8


def test_batches_are_functions_of_seed_label_purpose_and_index() -> None:
    task = Recall(length=16, keys=4, values=4)
    source = ExampleSource(label="a", seed=1)
    first = source.batch(task, "train", 0, 8).ids.tobytes()
    assert ExampleSource(label="a", seed=1).batch(task, "train", 0, 8).ids.tobytes() == first
    others = [
        source.batch(task, "train", 1, 8),
        source.batch(task, "search", 0, 8),
        ExampleSource(label="b", seed=1).batch(task, "train", 0, 8),
        ExampleSource(label="a", seed=2).batch(task, "train", 0, 8),
    ]
    assert first not in {other.ids.tobytes() for other in others}


def test_a_task_without_enough_sequences_is_refused() -> None:
    with pytest.raises(ValueError, match="more than a few sequences"):
        ExampleSource(label="one", seed=0).batch(Compression(length=2, tokens=1), "final", 0, 1)
