from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.compose.primitives.alphabet import built_in
from harness.compose.proxies.optimizer import FlatAdamW, Recipe
from harness.compose.proxies.presets import MAD_TASKS, preset_of
from harness.compose.proxies.training import build, evaluate, one_thread, train
from harness.errors import HarnessError, WrongUsage
from tests.harness.compose.proxies.requests import CANDIDATES, request

ROOT = CANDIDATES.parent


def test_an_evaluation_twice_gives_the_same_bits() -> None:
    asked = request()
    assert evaluate(asked, candidates=CANDIDATES) == evaluate(asked, candidates=CANDIDATES)


def test_a_fresh_process_with_other_threads_gives_the_same_bits() -> None:
    program = (
        "import torch; torch.set_num_threads(2)\n"
        "from tests.harness.compose.proxies.requests import CANDIDATES, request\n"
        "from harness.compose.proxies.training import evaluate\n"
        "evaluate(request('M', seed=5), candidates=CANDIDATES)\n"
        "print(repr(evaluate(request('mA Mb'), candidates=CANDIDATES).curve))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == repr(evaluate(request("mA Mb"), candidates=CANDIDATES).curve)


def test_going_on_from_a_checkpoint_gives_the_bits_of_a_training_from_scratch(tmp_path: Path) -> None:
    preset = replace(preset_of("in-context-recall", "tiny"), every=5, examples=32)
    scratch = train(request(steps=13), preset, built_in())
    for steps in (2, 7, 10, 13):
        last = train(request(steps=steps), preset, built_in(), tmp_path)
    assert last == scratch
    assert [point.step for point in last.curve] == [5, 10, 13]
    assert len(list(tmp_path.rglob("*.safetensors"))) == 4


def test_a_checkpoint_serves_neither_another_seed_nor_another_composition(tmp_path: Path) -> None:
    for asked in (request(steps=3), request(steps=3, seed=1), request("M mA", steps=3)):
        evaluate(asked, candidates=CANDIDATES, checkpoints=tmp_path)
        assert evaluate(asked, candidates=CANDIDATES, checkpoints=tmp_path) == evaluate(
            asked, candidates=CANDIDATES
        )


def test_a_shorter_training_is_a_part_of_a_longer_one() -> None:
    preset = replace(preset_of("memorization", "tiny"), every=4, examples=32)
    short, long = (train(request(steps=n, task="memorization"), preset, built_in()) for n in (8, 16))
    assert long.curve[: len(short.curve)] == short.curve


def test_logits_of_a_pure_mlp_stack_know_nothing_of_other_tokens() -> None:
    preset = preset_of("in-context-recall", "tiny")
    made = build(request("M M M"), preset, preset.data("x", 0), built_in())
    ids = torch.randint(0, 32, (2, 16), generator=torch.Generator().manual_seed(0))
    other = torch.randint(0, 32, (2, 16), generator=torch.Generator().manual_seed(1))
    other[:, 9] = ids[:, 9]
    at = torch.tensor([9, 16 + 9])
    with one_thread(), torch.no_grad():
        assert torch.equal(made.answers(ids, at), made.answers(other, at))
        mixing = build(request("mA M"), preset, preset.data("x", 0), built_in())
        assert not torch.equal(mixing.answers(ids, at), mixing.answers(other, at))


@pytest.mark.parametrize("task", MAD_TASKS)
def test_a_pure_mlp_stack_stays_at_chance_on_every_task(task: str) -> None:
    result = evaluate(request("M M", task=task, steps=60), candidates=CANDIDATES)
    chance = preset_of(task, "tiny").data("", 0).chance
    assert not result.diverged
    assert result.score < chance + 0.06


def test_attention_learns_memorization_in_a_hundred_steps() -> None:
    result = evaluate(request("mA M", task="memorization", steps=100), candidates=CANDIDATES)
    assert result.score > 0.9
    assert result.curve[-1].loss < result.curve[0].loss


@pytest.mark.parametrize("task", ["in-context-recall", "text"])
def test_divergence_is_an_answer_with_the_score_of_chance(task: str) -> None:
    preset = preset_of(task, "tiny")
    wild = replace(preset, recipe=replace(preset.recipe, lr=1e4, warmup=1))
    result = train(request(task=task, steps=60), wild, built_in())
    assert result.diverged
    assert result.steps < 60
    assert result.score == preset.data("", 0).chance
    assert math.isfinite(result.loss)


@pytest.mark.parametrize("every", [3, 50])
def test_a_gradient_that_is_not_finite_is_a_divergence_in_the_last_step_too(
    monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    preset = replace(preset_of("text", "tiny"), every=every)
    honest = FlatAdamW.step

    def exploding(self: FlatAdamW, number: int) -> bool:
        if number == 2:
            embedding = self._parameters[0]
            embedding.grad = torch.full_like(embedding, math.inf)
        return honest(self, number)

    monkeypatch.setattr(FlatAdamW, "step", exploding)
    result = train(request(task="text", steps=3), preset, built_in())
    assert (result.diverged, result.steps, result.score) == (True, 3, -8.0)
    json.dumps(result.to_json(), allow_nan=False)


def test_a_loss_that_is_not_finite_ends_a_training_at_once() -> None:
    preset = preset_of("memorization", "tiny")
    broken = replace(preset, recipe=replace(preset.recipe, std=math.inf))
    result = train(request(task="memorization", steps=9), broken, built_in())
    assert (result.diverged, result.steps) == (True, 1)


def test_bfloat16_trains_with_the_models_own_layers() -> None:
    asked = request("mA M Mb", steps=6, dtype="bfloat16")
    low, full = (evaluate(r, candidates=CANDIDATES) for r in (asked, replace(asked, dtype="float32")))
    assert low.loss != full.loss
    assert low.loss == pytest.approx(full.loss, rel=0.05)


def test_identities_that_are_not_those_found_are_refused() -> None:
    asked = replace(request(), identities={"mA": "mA/0", "M": "M/1"})
    with pytest.raises(HarnessError, match="mA: expected the identity mA/0"):
        evaluate(asked, candidates=CANDIDATES)
    with pytest.raises(HarnessError, match="Mb: expected the identity other"):
        evaluate(
            replace(request(), identities={**request().identities, "Mb": "other"}), candidates=CANDIDATES
        )


def test_unknown_proxies_are_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="in-context-recall"):
        preset_of("recall", "tiny")
    with pytest.raises(WrongUsage, match="tiny, small or mad"):
        preset_of("memorization", "huge")


def test_the_callers_threads_are_left_as_they_were() -> None:
    before = torch.get_num_threads()
    evaluate(request("M", steps=1), candidates=CANDIDATES)
    assert torch.get_num_threads() == before


def test_the_flat_optimizer_takes_the_steps_of_adamw() -> None:
    recipe = Recipe(lr=0.01, warmup=3, clip=0.5)
    made = [torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 2)) for _ in range(2)]
    made[1].load_state_dict(made[0].state_dict())
    flat = FlatAdamW(made[0].parameters(), recipe)
    matrices = [p for p in made[1].parameters() if p.dim() == 2]
    biases = [p for p in made[1].parameters() if p.dim() == 1]
    plain = torch.optim.AdamW(
        [{"params": matrices}, {"params": biases, "weight_decay": 0.0}],
        betas=recipe.betas,
        weight_decay=recipe.decay,
    )
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    for step in range(5):
        for model in made:
            model.zero_grad()
            model(x).square().sum().backward()
        flat.step(step)
        torch.nn.utils.clip_grad_norm_(made[1].parameters(), recipe.clip)
        for group in plain.param_groups:
            group["lr"] = recipe.rate(step)
        plain.step()
    for one, other in zip(made[0].parameters(), made[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
