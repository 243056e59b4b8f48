from __future__ import annotations

import pytest

from harness.compose.baselines import (
    BASELINES,
    NEMOTRON_H,
    NEMOTRON_NANO_2,
    baseline,
    from_nvidia,
)
from harness.compose.extrapolate import check_builds
from harness.compose.primitives.alphabet import built_in
from harness.compose.sizes import SIZES

SOLVED = [
    (name, size) for name in BASELINES for size in SIZES.values() if (name, size.name) != ("llama-3.2", "1B")
]


def test_llama_at_1b_has_exactly_its_published_parameters():
    made = baseline("llama-3.2", SIZES["1B"])
    assert made.counts.parameters == 1_235_814_400 == check_builds(made, built_in())
    assert (len(made.composition), made.shape.tied) == (32, True)


@pytest.mark.parametrize(("name", "size"), SOLVED, ids=str)
def test_other_baselines_are_within_three_per_cent(name, size):
    made = baseline(name, size)
    assert abs(made.counts.parameters / size.parameters - 1) <= 0.03
    assert check_builds(made, built_in()) == made.counts.parameters


@pytest.mark.parametrize(
    ("pattern", "layers", "attention"), [(NEMOTRON_H, 52, 4), (NEMOTRON_NANO_2, 56, 4)], ids=["h", "nano"]
)
def test_patterns_have_nvidias_layers(pattern, layers, attention):
    made = from_nvidia(pattern)
    assert (len(made), made.counts()["mA"]) == (layers, attention)


def test_composers_best_keeps_its_runs():
    made = baseline("composer-best", SIZES["1B"])
    assert made.composition.run_length() == "4mA+10M+4mA+6M+2mA+6M"
