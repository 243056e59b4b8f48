from __future__ import annotations

import pytest

from harness.compose.primitives.alphabet import admitted, built_in, quickest_of_families, resolve
from harness.compose.primitives.mechanism import PrimitiveRefused
from harness.compose.proxies.presets import preset_of
from harness.errors import WrongUsage
from tests.harness.compose.primitives.candidates import CANDIDATES, LINEAR


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
