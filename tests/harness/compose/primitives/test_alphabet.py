from __future__ import annotations

import json

import pytest

from harness.compose.primitives.alphabet import admitted, built_in, quickest_of_families, resolve
from harness.compose.primitives.mechanism import PrimitiveRefused
from harness.compose.proxies.presets import preset_of
from harness.errors import WrongUsage
from tests.harness.compose.primitives.candidates import CANDIDATES, LINEAR, copy


@pytest.mark.parametrize("name", ["pzbb45xn", LINEAR.name, f"linear_state/{LINEAR.name}"])
def test_a_mechanism_has_three_names_and_one_token(name):
    alphabet = resolve(["mA", name], CANDIDATES)
    assert alphabet.tokens == ("mA", "pzbb45xn")


def test_a_primitive_named_twice_counts_once():
    assert resolve(["M", "pzbb45xn", "mA", LINEAR.name, "M"], CANDIDATES).tokens == ("M", "pzbb45xn", "mA")


def test_identities_are_source_hashes_and_versions():
    alphabet = resolve(["mA", "pzbb45xn", "Mb"], CANDIDATES)
    found = alphabet.identities(["pzbb45xn", "mA", "mA"])
    assert found == {"mA": "mA/1", "pzbb45xn": alphabet["pzbb45xn"].identity}
    assert len(found["pzbb45xn"]) == 64


@pytest.mark.parametrize(("name", "near"), [("pzbb45xm", "pzbb45xn"), ("MB", "Mb"), ("mamba", "Mb")])
def test_an_unknown_name_is_refused_with_the_nearest_and_where_it_was_looked_for(name, near):
    with pytest.raises(WrongUsage, match=f"nearest: .*{near}") as caught:
        resolve([name], CANDIDATES)
    assert str(CANDIDATES) in str(caught.value)


def test_a_mechanism_that_must_not_be_composed_is_refused_by_name():
    with pytest.raises(PrimitiveRefused, match="ADM-CAUSAL"):
        resolve(["tdfrenk6"], CANDIDATES)


def test_a_folder_is_named_after_the_mechanism_in_it(tmp_path):
    folder = copy(tmp_path)
    assert [one.token for one in admitted(tmp_path)] == ["pzbb45xn"]
    renamed = folder.rename(folder.with_name("head-decay-aaaaaaaa"))
    assert admitted(tmp_path) == ()
    with pytest.raises(PrimitiveRefused, match="ADM-NAME expected a folder whose name ends in -pzbb45xn"):
        resolve(["aaaaaaaa"], tmp_path)
    renamed.rename(folder.with_name("renamed"))
    assert admitted(tmp_path) == ()


@pytest.mark.parametrize(
    "changes", [{"evidence": [1]}, {"evidence": {"THR": 5}}, {"admission": "incomplete"}]
)
def test_a_verdict_that_admits_nothing_is_left_out_and_refused_by_name(tmp_path, changes):
    copy(tmp_path, **changes)
    assert admitted(tmp_path) == ()
    with pytest.raises(PrimitiveRefused, match="ADM-NOT-ADMITTED"):
        resolve(["pzbb45xn"], tmp_path)


def test_one_edited_word_composes_no_rejected_mechanism(tmp_path):
    (rejected,) = [
        path.parent
        for path in CANDIDATES.glob("*/*/verdict.json")
        if json.loads(path.read_text())["admission"] == "rejected"
    ]
    copy(tmp_path, rejected, admission="admitted")
    with pytest.raises(PrimitiveRefused, match="the finding NUM-ILL-CONDITIONED"):
        resolve([rejected.name], tmp_path)


def test_an_empty_list_is_refused():
    with pytest.raises(WrongUsage, match="at least one"):
        resolve([], CANDIDATES)


def test_built_in_primitives_need_no_folder(tmp_path):
    assert resolve(["mA", "M", "Mb"], tmp_path / "nothing") == built_in()


def test_of_each_family_the_mechanism_with_the_fewest_operations_is_taken() -> None:
    shape = preset_of("in-context-recall", "tiny").shape
    quickest = quickest_of_families(CANDIDATES, shape, 32)
    everything = admitted(CANDIDATES)
    assert [one.family for one in quickest] == sorted({one.family for one in everything})
    for one in quickest:
        assert one.flops(shape, 32) == min(
            other.flops(shape, 32) for other in everything if other.family == one.family
        )
