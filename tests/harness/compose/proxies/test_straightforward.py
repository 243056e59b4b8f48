from __future__ import annotations

import pytest
import torch

from harness.compose.composition import parse
from harness.compose.proxies.bench import REFERENCE, in_turns, sized, training_of
from harness.compose.proxies.splits import ExampleSource
from harness.compose.proxies.straightforward import StraightforwardModel, StraightforwardTraining
from harness.compose.proxies.tasks import Recall


@pytest.mark.parametrize("text", ["mA M mA M", "M mA"])
def test_both_versions_train_through_the_same_losses(text: str) -> None:
    task = Recall(length=16, keys=4, values=12)
    preset = sized(task, 32)
    fast = training_of(parse(text), preset)
    plain = StraightforwardTraining(StraightforwardModel(fast.model.model), preset.recipe)
    for step in range(8):
        fast.step()
        assert fast.data.train(step, 32).ids.shape == (32, 16)
        examples = ExampleSource(label=fast.data.label, seed=0).batch(task, "train", step, 32)
        loss = plain.step(step, torch.from_numpy(examples.ids), torch.from_numpy(examples.targets))
        assert loss == pytest.approx(fast.progress.pending[-1], rel=1e-4)


def test_turns_are_shared_out_evenly_and_times_are_medians() -> None:
    calls: dict[str, list[int]] = {"a": [], "b": []}
    times = in_turns({name: calls[name].append for name in calls}, rounds=2, steps=3)
    assert calls["a"] == calls["b"] == list(range(9))
    assert set(times) == {"a", "b"}
    assert min(times.values()) >= 0.0


def test_the_reference_has_sixteen_layers() -> None:
    assert len(REFERENCE) == 16
