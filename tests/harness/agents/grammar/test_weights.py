from __future__ import annotations

from collections import Counter

from harness.agents.grammar.genome import Edit, Genome
from harness.agents.grammar.productions import FEATURE_MAPS, KEY_NORMS, SCALES
from harness.agents.grammar.slots import Elementwise
from harness.agents.grammar.weights import HIGHEST, LOWEST, START, Weights, learned
from harness.agents.protocol import Outcome, Proposal, Status
from harness.chance import generator
from verify.findings import Finding


def outcome(status: Status, *rules: str, name: str = "exp", edited: bool = False) -> Outcome:
    contents = {
        "feature_map": Elementwise(tree=FEATURE_MAPS[name]),
        "key_norm": KEY_NORMS["l2"],
        "scale": SCALES["unit"],
    }
    edit = Edit(function="_phi", description="d", body="return x") if edited else None
    genome = Genome(skeleton="f/v1/a", contents=contents, edit=edit)
    proposal = Proposal(
        source="",
        skeleton="f/v1/a",
        operator="point" if edited else "draft",
        slug="",
        slots={},
        note=genome.to_note(),
    )
    findings = tuple(Finding(rule=rule, message="m") for rule in rules)
    return Outcome(position=0, proposal=proposal, fingerprint="", status=status, findings=findings)


def test_what_was_admitted_gains_and_what_was_rejected_loses() -> None:
    weights = learned([outcome("admitted", name="silu"), outcome("rejected", "NUM-MISMATCH", name="exp")])
    assert weights["feature_map:silu"] > START > weights["feature_map:exp"]
    assert weights["feature_map.function:exp"] < START
    assert weights["feature_map:relu"] == START


def test_a_blind_edit_says_nothing_about_the_contents() -> None:
    weights = learned([outcome("rejected", "GRD-MISMATCH", edited=True)])
    assert weights["feature_map:exp"] == START
    assert weights["operator:point"] < START


def test_a_duplicate_costs_its_operator_only() -> None:
    weights = learned([outcome("duplicate")])
    assert weights["operator:draft"] < START
    assert weights["feature_map:exp"] == START


def test_what_has_no_verdict_says_nothing() -> None:
    assert learned([outcome("pending")])["operator:draft"] == START


def test_weights_stay_between_their_bounds() -> None:
    assert learned([outcome("rejected", "NUM-MISMATCH")] * 50)["feature_map:exp"] == LOWEST
    assert learned([outcome("admitted")] * 50)["feature_map:exp"] == HIGHEST


def test_what_was_rejected_is_still_drawn_now_and_then() -> None:
    weights = learned([outcome("rejected", "NUM-MISMATCH")] * 50)
    rng = generator(0, "draws")
    options = [(f"feature_map:{name}", name) for name in FEATURE_MAPS]
    counts = Counter(weights.choose(rng, options) for _ in range(2000))
    assert 0 < counts["exp"] < counts["silu"]


def test_no_outcomes_leave_every_choice_equal() -> None:
    assert Weights()["anything"] == START
