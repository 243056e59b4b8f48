"""The judge against wrong mechanisms: each is rejected by the stage that should, and honest ones by none."""

import dataclasses
from collections import Counter

import pytest

from tests.mutants.__main__ import HONEST_SHARE, LEAST_MUTANTS, LEAST_RATIO, margins, table
from tests.mutants.catalogue import Mutant, as_free, mutants, parse, skeleton_source
from tests.mutants.measure import Measurement, measure
from verify.findings import Finding
from verify.sandbox.client import Server

MUTANTS = mutants()
SKELETONS = sorted({mutant.skeleton for mutant in MUTANTS})
LEAST_OF_A_SKELETON = 9
PER_SKELETON = 4
"""How many of each mechanism's mutants every test run judges; `nox -s mutants` judges all of them."""


NEAREST = {"smoke": "float32", "low precision": "bfloat16"}
"""Groups of cases in which every test run measures honest mechanisms, and the dtype that they are about."""


def chosen() -> list[Mutant]:
    """Spread over each mechanism's file, so that forward and backward, and every dtype, take part."""
    found = []
    for skeleton in SKELETONS:
        own = [mutant for mutant in MUTANTS if mutant.skeleton == skeleton]
        found += own[:: -(-len(own) // PER_SKELETON)]
    return found


def test_the_catalogue_is_large_and_says_each_thing_once() -> None:
    counts = Counter(mutant.skeleton for mutant in MUTANTS)
    assert len(MUTANTS) >= LEAST_MUTANTS
    assert min(counts.values()) >= LEAST_OF_A_SKELETON
    assert len({mutant.label for mutant in MUTANTS}) == len(MUTANTS)
    assert len({mutant.source for mutant in MUTANTS}) == len(MUTANTS)


def test_every_edit_applies_to_its_skeleton() -> None:
    for mutant in MUTANTS:
        assert mutant.source != as_free(skeleton_source(mutant.skeleton)), mutant.label


@pytest.mark.parametrize("mutant", chosen(), ids=lambda mutant: mutant.label)
def test_a_mutant_is_rejected_by_the_stage_that_should(mutant: Mutant, server: Server) -> None:
    """`measure` refuses one that the static stages refuse: those would hide what the numbers show."""
    found = measure(server, mutant.source, group=mutant.group, until=mutant.stage, naive=False)
    assert mutant.stage in found.stages, f"{mutant.wrong} {found.ratios}"


@pytest.mark.parametrize("group", [*NEAREST, pytest.param(None, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("skeleton", SKELETONS)
def test_honest_skeletons_stay_within_half_the_tolerance(
    skeleton: str, group: str | None, server: Server
) -> None:
    found = measure(server, as_free(skeleton_source(skeleton)), group=group, naive=False)
    assert found.findings == []
    assert set(found.ratios) >= ({NEAREST[group]} if group else set(NEAREST.values()))
    assert max(found.ratios.values()) <= HONEST_SHARE


def test_measuring_stops_at_the_first_case_with_the_stage(server: Server) -> None:
    mutant = next(one for one in MUTANTS if one.label == "ungated/scale-dropped")
    found = measure(server, mutant.source, until="NUM", naive=False)
    assert len({finding.where for finding in found.findings}) == 1
    assert set(found.ratios) == {"float32"}, "low precision comes last"


def test_the_naive_check_misses_what_the_judge_sees(server: Server) -> None:
    """A carried initial state is no business of a check that runs forward from zero."""
    labels = {"ungated/scale-dropped": False, "ungated/initial-state-ignored": True}
    chosen = [mutant for mutant in MUTANTS if mutant.label in labels]
    with_opinion = {mutant.label: measure(server, mutant.source, group="smoke") for mutant in chosen}
    assert {label: found.naive_passes for label, found in with_opinion.items()} == labels
    assert all(found.findings for found in with_opinion.values())


def test_an_unknown_group_is_refused(server: Server) -> None:
    with pytest.raises(ValueError, match=r"expected one of the groups smoke, .*, got nowhere"):
        measure(server, as_free(skeleton_source(SKELETONS[0])), group="nowhere")


def test_a_mutant_must_pass_the_static_stages(server: Server) -> None:
    forbidden = dataclasses.replace(MUTANTS[0], edits=(("import torch\n", "import os\nimport torch\n"),))
    with pytest.raises(ValueError, match="os"):
        measure(server, forbidden.source)


@pytest.mark.parametrize("old", ["text that no skeleton has", "tl.dot("], ids=["never", "often"])
def test_an_edit_must_match_exactly_once(old: str) -> None:
    mutant = dataclasses.replace(MUTANTS[0], edits=((old, "x"),))
    with pytest.raises(ValueError, match="exactly once"):
        _ = mutant.source


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "PAR"},
        {"edits": []},
        {"edits": [["only one"]]},
        {"typo": "x"},
    ],
    ids=["stage", "no edits", "half an edit", "unknown key"],
)
def test_a_malformed_entry_is_refused(change: dict[str, object]) -> None:
    entry: dict[str, object] = {"name": "x", "wrong": "y", "stage": "NUM", "edits": [["a", "b"]]}
    assert parse(entry, "family/v1/one").name == "x"
    with pytest.raises(ValueError, match="family/v1/one"):
        parse({**entry, **change}, "family/v1/one")


def measurement(ratio: float, rule: str | None) -> Measurement:
    findings = [Finding(rule=rule, message="expected less")] if rule else []
    return Measurement(findings=findings, ratios={"float32": ratio}, naive_passes=rule is None)


def test_the_table_holds_only_when_the_right_stage_rejects() -> None:
    numeric = [mutant for mutant in MUTANTS if mutant.stage == "NUM" and mutant.dtype == "float32"]
    many = (numeric * LEAST_MUTANTS)[:LEAST_MUTANTS]
    right = [(mutant, measurement(1e3, "NUM-OUTPUT")) for mutant in many]
    assert table(right)[0]["holds"]
    assert not table(right[1:])[0]["holds"], "too few"
    document, lines = table([*right, (many[0], measurement(1e3, "GRD-VALUE"))])
    assert not document["holds"]
    assert sum("EXPECTED NUM TO REJECT IT" in line for line in lines) == 1
    document, lines = table([*right, (many[0], measurement(0.1, None))])
    assert not document["holds"]
    assert lines[-1].endswith(f"lets 1 of {LEAST_MUTANTS + 1} pass")


@pytest.mark.parametrize(
    ("honest", "rule", "mildest", "holds"),
    [
        (HONEST_SHARE, None, LEAST_RATIO["float32"], True),
        (HONEST_SHARE * 1.01, None, LEAST_RATIO["float32"], False),
        (HONEST_SHARE, None, LEAST_RATIO["float32"] * 0.99, False),
        (0.1, "MEM-POINTER", LEAST_RATIO["float32"], False),
    ],
    ids=["both at their limits", "honest too far", "mutant too mild", "honest with a finding"],
)
def test_margins_hold_only_within_limits(
    honest: float, rule: str | None, mildest: float, holds: bool
) -> None:
    chosen = [mutant for mutant in MUTANTS if mutant.skeleton == SKELETONS[0] and mutant.dtype == "float32"]
    ratios = [0.0 if mutant.stage == "MEM" else mildest for mutant in chosen]
    rows = [(mutant, measurement(ratio, "NUM-OUTPUT")) for mutant, ratio in zip(chosen, ratios, strict=True)]
    document, _ = margins(rows, {SKELETONS[0]: measurement(honest, rule)})
    assert document["holds"] is holds


def test_margins_without_mutants_do_not_hold() -> None:
    assert not margins([], {SKELETONS[0]: measurement(0.1, None)})[0]["holds"]
    assert not margins([], {})[0]["holds"]
