from __future__ import annotations

import numpy as np
import pytest

from harness.agents.grammar.growth import change, draw, shrink
from harness.agents.grammar.productions import SCORE_MODS
from harness.agents.grammar.score_mods import (
    ScoreMod,
    describe_score_mod,
    score_mod_from_json,
    score_mod_functions,
    score_mod_to_json,
    torch_score_mod_body,
    triton_score_mod_body,
    triton_score_mod_grad_body,
)
from harness.agents.grammar.slots import label
from harness.agents.grammar.trees import uses_input
from harness.agents.grammar.weights import Weights
from harness.chance import generator
from harness.engine.skeletons import load_skeletons
from tests.harness.agents.grammar.tile_language import TL, run_body
from verify.source.outline import Outline
from verify.source.parse import parse
from verify.source.spec_reader import read_spec

torch = pytest.importorskip("torch")

HEADS, LENGTH = 3, 9


def drawn_score_mods() -> list[ScoreMod]:
    found: list[ScoreMod] = []
    for n in range(40):
        rng = generator(5, "score_mod", n)
        content = change(rng, Weights(), "score_mod", draw(rng, Weights(), "score_mod"))
        assert isinstance(content, ScoreMod)
        found.append(content)
    return found


ALL = [*SCORE_MODS.values(), *drawn_score_mods()]


@pytest.mark.parametrize("content", ALL, ids=describe_score_mod)
def test_forms_agree_in_value_and_gradient(content: ScoreMod) -> None:
    rng = np.random.default_rng(7)
    scores = rng.normal(size=(1, HEADS, LENGTH, LENGTH))
    distance = np.maximum(np.arange(LENGTH)[:, None] - np.arange(LENGTH)[None, :], 0).astype(np.float64)
    score = torch.tensor(scores, requires_grad=True)
    heads = torch.arange(HEADS, dtype=torch.float64)[:, None, None]
    given = {"score": score, "distance": torch.tensor(distance), "head": heads, "heads": HEADS}
    value = run_body(torch_score_mod_body(content), given, {"torch": torch})
    assert value.shape == score.shape
    (slope,) = torch.autograd.grad(value.sum(), score)
    for head in range(HEADS):
        tile = {"score": scores[0, head], "distance": distance, "head": float(head), "heads": float(HEADS)}
        printed = run_body(triton_score_mod_body(content), tile, {"tl": TL})
        np.testing.assert_allclose(printed, value[0, head].detach().numpy(), rtol=1e-7, atol=1e-9)
        printed = run_body(triton_score_mod_grad_body(content), tile, {"tl": TL})
        assert printed.shape == distance.shape
        np.testing.assert_allclose(printed, slope[0, head].numpy(), rtol=1e-6, atol=1e-8)


def test_the_linear_bias_is_what_the_skeleton_holds() -> None:
    (skeleton,) = (s for s in load_skeletons("softmax_attention") if s.short_name == "biased")
    parsed, _ = parse(skeleton.source.encode())
    assert parsed is not None
    spec, _ = read_spec(Outline(parsed.tree))
    assert spec is not None
    functions, lines = Outline(parsed.tree).functions, skeleton.source.splitlines()
    held = [lines[(functions[name].end_lineno or 0) - 1].strip() for name in spec.slots["score_mod"]]
    content = SCORE_MODS["linear"]
    forms = (torch_score_mod_body, triton_score_mod_body, triton_score_mod_grad_body)
    assert held == [form(content) for form in forms]


@pytest.mark.parametrize("content", ALL, ids=describe_score_mod)
def test_scores_stay_in_what_is_drawn(content: ScoreMod) -> None:
    assert uses_input(content.shape)


def test_without_a_slope_distance_plays_no_part() -> None:
    content = SCORE_MODS["cap"]
    assert "distance" not in torch_score_mod_body(content)
    assert "distance" not in describe_score_mod(content)
    assert score_mod_functions(content) == ("tanh",)


def test_shrinking_comes_to_an_end() -> None:
    for content in ALL:
        smaller = content
        for n in range(64):
            following = shrink(generator(1, "shrink", n), smaller)
            assert isinstance(following, ScoreMod)
            smaller = following
        assert smaller.slope == "none"
        assert score_mod_functions(smaller) == ()


def test_labels_are_short_words() -> None:
    assert label("score_mod", SCORE_MODS["log"]) == "log"
    assert label("score_mod", ScoreMod(slope="even", rate=0.5)) == "even0p5"
    assert label("score_mod", ScoreMod(shape=SCORE_MODS["cap"].shape, slope="even")) == "tanh-even1"


@pytest.mark.parametrize("content", ALL, ids=describe_score_mod)
def test_json_keeps_the_contents(content: ScoreMod) -> None:
    assert score_mod_from_json(score_mod_to_json(content)) == content


@pytest.mark.parametrize("data", ["x", ["even", 1.0, "x"], ["odd", 1.0, "x", "x"], ["even", "x", "x", "x"]])
def test_json_that_is_no_score_mod_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        score_mod_from_json(data)  # type: ignore[arg-type]
