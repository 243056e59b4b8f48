from __future__ import annotations

import ast

import pytest

from harness.agents.grammar.edits import choose_edit, edits_of
from harness.agents.grammar.functions import derivative
from harness.agents.grammar.printing import torch_body, triton_body
from harness.agents.grammar.productions import FEATURE_MAPS, KEY_NORMS, SCORE_MODS
from harness.agents.grammar.rows import torch_row_body, triton_row_body, triton_row_grad_body
from harness.agents.grammar.slots import bodies
from harness.chance import generator

BODIES = [
    *(
        text
        for tree in FEATURE_MAPS.values()
        for text in (torch_body(tree), triton_body(tree), triton_body(derivative(tree)))
    ),
    *(
        text
        for row in KEY_NORMS.values()
        for text in (torch_row_body(row), triton_row_body(row), triton_row_grad_body(row))
    ),
    *(text for content in SCORE_MODS.values() for text in bodies(content)),
]


@pytest.mark.parametrize("body", sorted(set(BODIES)))
def test_every_edit_parses_and_changes_the_text(body: str) -> None:
    edits = edits_of("_phi", body)
    texts = [edit.body for edit in edits]
    assert body.strip() not in texts
    assert len(set(texts)) == len(texts)
    for edit in edits:
        body = edit.body.replace("\n", "\n    ")
        ast.parse(f"def _phi(x, dy, score, distance, head, heads):\n    {body}\n")


def test_the_kinds_of_edit() -> None:
    body = "a = tl.maximum(x, 0.5)\nreturn -a * a + tl.where(x > 0.0, 1.0, 0.0)"
    descriptions = {edit.description for edit in edits_of("_phi", body)}
    assert {
        "maximum became minimum",
        "0.5 became 1.0",
        "+ became -",
        "* became /",
        "> became <",
    } <= descriptions
    assert {"lost the sign of a", "kept only the left side, without a"} <= descriptions


def test_the_arguments_of_a_score_change_places() -> None:
    descriptions = {edit.description for edit in edits_of("_score_mod", "return score - distance * head")}
    assert {"distance became score", "score became distance", "head became heads"} <= descriptions


def test_brackets_stay_with_what_is_kept() -> None:
    texts = {edit.description: edit.body for edit in edits_of("_phi", "return 2.0 * (x - 1.0 + dy)")}
    assert texts["kept only the left side, without dy"] == "return 2.0 * (x - 1.0)"


def test_a_copied_body_names_where_it_comes_from() -> None:
    edits = edits_of("_phi", "return x", [("exp", "return tl.exp(x)"), ("identity", "return x")])
    assert ("body copied from exp", "return tl.exp(x)") in [(edit.description, edit.body) for edit in edits]
    assert not any("identity" in edit.description for edit in edits)


def test_choices_repeat_and_reach_every_body() -> None:
    bodies = (
        ("_phi_torch", "return torch.exp(x)"),
        ("_phi", "return tl.exp(x)"),
        ("_phi_grad", "return tl.exp(x)"),
    )
    others = {name: [("silu", "return x * tl.sigmoid(x)")] for name, _ in bodies}
    drawn = [choose_edit(generator(0, "edit", n), bodies, others) for n in range(60)]
    assert drawn == [choose_edit(generator(0, "edit", n), bodies, others) for n in range(60)]
    assert {edit.function for edit in drawn if edit} == {"_phi_torch", "_phi", "_phi_grad"}
    assert any(edit is not None and edit.description.startswith("body copied") for edit in drawn)


def test_nothing_to_edit_is_said() -> None:
    assert choose_edit(generator(0, "edit"), (), {}) is None
