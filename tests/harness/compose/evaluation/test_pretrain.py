from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from harness.compose.corpus import sections
from harness.compose.evaluation.byte_codec import START, decode
from harness.compose.evaluation.checkpoint import load_checkpoint, save_checkpoint
from harness.compose.evaluation.pretrain import (
    Point,
    Recipe,
    TrainingRecord,
    batch_at,
    pretrain,
    training_stream,
)
from harness.errors import HarnessError, WrongUsage
from tests.harness.compose.evaluation.tiny import RECIPE, tiny_model


class Killed(BaseException):
    pass


def weights(model: torch.nn.Module) -> dict[str, bytes]:
    return {name: value.detach().numpy().tobytes() for name, value in model.named_parameters()}


def kill_after(step: int) -> object:
    def report(point: Point) -> None:
        if point.step > step:
            raise Killed

    return report


def test_a_killed_and_resumed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    whole, killed, resumed = tiny_model(), tiny_model(), tiny_model()
    record = pretrain(whole, RECIPE, name="m")
    checkpoint = tmp_path / "c.safetensors"
    with pytest.raises(Killed):
        pretrain(killed, RECIPE, name="m", checkpoint=checkpoint, report=kill_after(4))
    seen: list[int] = []
    again = pretrain(resumed, RECIPE, name="m", checkpoint=checkpoint, report=lambda p: seen.append(p.step))
    assert seen == [6, 8]
    assert weights(resumed) == weights(whole) != weights(tiny_model())
    assert again == record


def test_every_report_is_a_mean_of_its_steps_alone() -> None:
    fine, coarse = (
        pretrain(tiny_model(), replace(RECIPE, interval=interval), name="m").points for interval in (1, 4)
    )
    means = [sum(point.bits_per_byte for point in fine[start : start + 4]) / 4 for start in (0, 4)]
    assert [point.step for point in coarse] == [4, 8]
    assert [point.bits_per_byte for point in coarse] == pytest.approx(means)


def test_the_last_report_comes_at_the_last_step_whatever_the_interval() -> None:
    record = pretrain(tiny_model(), replace(RECIPE, steps=5, interval=3), name="m")
    assert [point.step for point in record.points] == [3, 5]


def test_a_model_learns() -> None:
    recipe = Recipe(steps=60, batch=8, context=32, warmup=5, interval=20, learning_rate=1e-2)
    points = pretrain(tiny_model(), recipe, name="m").points
    assert points[-1].bits_per_byte < 5.0 < points[0].bits_per_byte


@pytest.mark.parametrize(
    ("recipe", "name"), [(replace(RECIPE, steps=9), "m"), (replace(RECIPE, seed=1), "m"), (RECIPE, "other")]
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, recipe: Recipe, name: str) -> None:
    checkpoint = tmp_path / "c.safetensors"
    pretrain(tiny_model(), RECIPE, name="m", checkpoint=checkpoint)
    with pytest.raises(HarnessError, match="got another run's"):
        pretrain(tiny_model(), recipe, name=name, checkpoint=checkpoint)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_checkpoint_without_a_tensor_of_the_model_is_refused(tmp_path: Path, damage: str) -> None:
    checkpoint = tmp_path / "c.safetensors"
    pretrain(tiny_model(), RECIPE, name="m", checkpoint=checkpoint)
    with safe_open(checkpoint, framework="pt") as file:
        key = file.metadata()["key"]
    saved = load_checkpoint(checkpoint, key=key)
    tensors = dict(saved.tensors)
    last = tensors.pop("model.norm.weight")
    if damage == "cut":
        tensors["model.norm.weight"] = last[:-1]
    save_checkpoint(checkpoint, replace(saved, tensors=tensors))
    with pytest.raises(HarnessError, match=r"no tensors of this model .*Remove it to start training anew"):
        pretrain(tiny_model(), RECIPE, name="m", checkpoint=checkpoint)


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.norm.weight.fill_(float("nan"))
    with pytest.raises(HarnessError, match="expected finite losses, got nan"):
        pretrain(model, RECIPE, name="m")


def test_a_gradient_that_is_no_number_stops_the_run_in_its_last_step_too() -> None:
    model = tiny_model()
    model.norm.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(HarnessError, match="expected finite losses, got nan"):
        pretrain(model, replace(RECIPE, steps=1), name="m")


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    assert torch.equal(batch_at(RECIPE, 3), batch_at(replace(RECIPE, steps=99), 3))
    assert not torch.equal(batch_at(RECIPE, 3), batch_at(RECIPE, 4))
    assert not torch.equal(batch_at(RECIPE, 3), batch_at(replace(RECIPE, seed=1), 3))


def test_a_batch_is_text_of_the_training_sections() -> None:
    ids = batch_at(RECIPE, 0)
    assert ids.shape == (RECIPE.batch, RECIPE.context + 1)
    everything = "".join(section.text for section in sections("train"))
    for row in ids.tolist():
        assert START in row or decode(row) in everything


def test_every_document_begins_with_start() -> None:
    stream = training_stream()
    assert stream[0] == START
    assert int((stream == START).sum()) == len(sections("train"))


def test_the_rate_rises_to_its_top_and_falls_to_a_tenth() -> None:
    recipe = Recipe(steps=100, warmup=10, learning_rate=1.0)
    rates = [recipe.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=0.001)


def test_the_number_of_threads_is_put_back() -> None:
    before = torch.get_num_threads()
    pretrain(tiny_model(), replace(RECIPE, steps=1, threads=before + 1), name="m")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", ["steps", "batch", "context", "interval", "threads"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(WrongUsage, match=f"{name}: expected one or more, got 0"):
        replace(RECIPE, **{name: 0})


def test_a_record_comes_back_from_json() -> None:
    record = pretrain(tiny_model(), replace(RECIPE, steps=2), name="m")
    assert TrainingRecord.from_json(json.loads(json.dumps(asdict(record)))) == record
