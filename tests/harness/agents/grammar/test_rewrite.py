from __future__ import annotations

import ast

import pytest

from harness.agents.grammar.genome import Edit, Genome, from_note
from harness.agents.grammar.productions import FEATURE_MAPS, KEY_NORMS, SCALES
from harness.agents.grammar.rewrite import assemble
from harness.agents.grammar.slots import SLOT_KINDS, Elementwise, known_slots
from harness.agents.protocol import Skeleton
from tests.harness.agents.grammar.small_skeletons import SLOTS, small_skeleton
from verify.source.canonical import format_source
from verify.source.identity import fingerprint

SOFTPLUS_L2 = Genome(
    skeleton="linear_state/v1/token_decay",
    contents={
        "feature_map": Elementwise(tree=FEATURE_MAPS["softplus"]),
        "key_norm": KEY_NORMS["l2"],
        "scale": SCALES["unit"],
    },
)


def functions(source: str) -> dict[str, str]:
    return {
        node.name: ast.unparse(node) for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)
    }


def test_only_slot_functions_and_docstrings_change() -> None:
    skeleton = small_skeleton("token_decay", 2)
    before, after = functions(skeleton.source), functions(assemble(skeleton, SOFTPLUS_L2))
    changed = {name for name in before if before[name] != after[name]}
    assert set(before) == set(after)
    assert changed == {name for names in SLOTS.values() for name in names}


def test_the_source_is_canonical() -> None:
    source = assemble(small_skeleton("token_decay", 2), SOFTPLUS_L2)
    assert format_source(source) == source


def test_docstrings_say_what_the_slots_hold() -> None:
    source = assemble(small_skeleton("token_decay", 2), SOFTPLUS_L2)
    module = ast.parse(source)
    summary = ast.get_docstring(module)
    assert summary is not None
    assert "feature map: softplus(x)" in summary
    assert "key norm: x / sqrt(sum(x^2) + 1e-06)" in summary
    assert summary.startswith("A small token_decay mechanism.")
    assert '"""Feature map phi, elementwise: softplus(x)."""' in source
    assert '"""phi on a float32 tile."""' in source


def test_an_edit_is_the_last_word_on_its_function() -> None:
    edit = Edit(function="_phi_grad", description="made up", body="return 2.0 * x")
    genome = Genome(skeleton=SOFTPLUS_L2.skeleton, contents=SOFTPLUS_L2.contents, edit=edit)
    source = assemble(small_skeleton("token_decay", 2), genome)
    assert "return 2.0 * x" in functions(source)["_phi_grad"]
    assert "edit: _phi_grad: made up" in source


def test_the_identity_is_known_for_what_it_is() -> None:
    skeleton = small_skeleton("token_decay", 2)
    genome = Genome(
        skeleton=skeleton.name,
        contents={
            "feature_map": Elementwise(tree=FEATURE_MAPS["identity"]),
            "key_norm": KEY_NORMS["plain"],
            "scale": SCALES["rsqrtk"],
        },
    )
    assert fingerprint(assemble(skeleton, genome)) == skeleton.fingerprint


def test_a_skeleton_that_lacks_a_slot_function_is_named() -> None:
    whole = small_skeleton("token_decay", 2)
    lacking = Skeleton(
        name=whole.name, source=whole.source.replace("_scale", "_other"), fingerprint="", slots=whole.slots
    )
    with pytest.raises(ValueError, match=r"\['_scale'\]"):
        assemble(lacking, SOFTPLUS_L2)


def test_slots_that_the_grammar_does_not_know_keep_their_contents() -> None:
    assert known_slots({**SLOTS, "gate": ("_gate",), "scale": ("_scale", "_scale_grad")}) == (
        "feature_map",
        "key_norm",
    )


@pytest.mark.parametrize("slot", SLOT_KINDS)
def test_the_note_keeps_the_genome(slot: str) -> None:
    for content in SLOT_KINDS[slot].productions.values():
        genome = Genome(
            skeleton="f/v1/s", contents={slot: content}, edit=Edit(function="_phi", description="d", body="b")
        )
        assert from_note(genome.to_note()) == genome


@pytest.mark.parametrize(
    "note", ["", "[]", "{}", '{"skeleton": "s", "contents": {"other": "x"}, "edit": null}']
)
def test_a_note_that_is_no_genome_is_refused(note: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        from_note(note)


def test_slugs_are_readable_and_short() -> None:
    assert SOFTPLUS_L2.slug() == "token-decay-softplus-l2-unit"
    plain = {**SOFTPLUS_L2.contents, "key_norm": KEY_NORMS["plain"], "scale": SCALES["rsqrtk"]}
    assert Genome(skeleton="linear_state/v1/ungated", contents=plain).slug() == "ungated-softplus"
