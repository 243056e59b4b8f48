from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby

import pytest

from harness.compose.composition import Composition, parse
from harness.compose.extrapolate import Configuration, check_builds, configure, depth, stack, stretch
from harness.compose.primitives.alphabet import built_in
from harness.compose.sizes import SIZES
from harness.errors import HarnessError, WrongUsage

FOUND = (
    parse("2A+5M+2A+3M+1A+3M"),
    parse("mA M Mb M mA M Mb M mA M Mb M mA M Mb M"),
    parse("16Mb"),
    parse("1A+15M"),
)


@pytest.mark.parametrize("layers", [16, 17, 31, 32, 48, 100])
@pytest.mark.parametrize("found", FOUND, ids=Composition.run_length)
def test_stretching_keeps_the_order_of_runs_and_their_proportions(found, layers):
    stretched = stretch(found, layers)
    assert len(stretched) == layers
    assert [token for token, _ in stretched.runs] == [token for token, _ in found.runs]
    for (_, before), (_, after) in zip(found.runs, stretched.runs, strict=True):
        assert abs(after - before * layers / len(found)) < 1


def test_stretching_by_a_whole_number_is_exact():
    assert stretch(FOUND[0], 32).run_length() == "4mA+10M+4mA+6M+2mA+6M"


def test_the_largest_remainder_gets_the_layer_left_over():
    assert stretch(parse("1A+3M"), 5).runs == (("mA", 1), ("M", 4))


def test_stacking_repeats_the_block():
    assert stack(parse("mA M M"), 9).tokens == ("mA", "M", "M") * 3


@pytest.mark.parametrize(("extend", "layers"), [(stretch, 15), (stack, 15), (stack, 40)])
def test_depths_that_cannot_be_reached_are_refused(extend, layers):
    with pytest.raises(WrongUsage, match="expected"):
        extend(FOUND[0], layers)


@pytest.mark.parametrize(
    ("searched", "expected"), [(16, (32, 32, 48)), (12, (36, 36, 60)), (100, (100, 100, 100))]
)
def test_depths_are_multiples_of_the_searched_one(searched, expected):
    assert tuple(depth(size, searched) for size in SIZES.values()) == expected


@pytest.mark.parametrize("method", ["stretch", "stack"])
@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_what_is_built_has_the_parameters_that_were_counted(method, size):
    made = configure(FOUND[1], built_in(), size, method=method)
    assert check_builds(made, built_in()) == made.counts.parameters


def test_a_configuration_survives_json():
    made = configure(FOUND[0], built_in(), SIZES["350M"], method="stretch")
    assert Configuration.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_an_edited_count_is_noticed():
    made = configure(FOUND[0], built_in(), SIZES["350M"], method="stretch")
    edited = replace(made, counts=replace(made.counts, parameters=made.counts.parameters + 1))
    with pytest.raises(HarnessError, match="as counted"):
        check_builds(edited, built_in())


def test_stretched_and_stacked_models_have_the_same_layers_in_another_order():
    stretched, stacked = (
        configure(FOUND[0], built_in(), SIZES["1B"], method=method) for method in ("stretch", "stack")
    )
    assert stretched.composition.counts() == stacked.composition.counts()
    assert stretched.counts.parameters == stacked.counts.parameters
    assert [list(same) for _, same in groupby(stretched.composition.tokens)] != [
        list(same) for _, same in groupby(stacked.composition.tokens)
    ]
