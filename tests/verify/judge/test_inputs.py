"""The judge's data: bit-exact, inside its domain, laid out as asked, and honest about its gaps."""

from __future__ import annotations

import numpy as np
import pytest

from verify.dtypes import narrow, to_float64, ulp
from verify.judge.random import Stream
from verify.seeds import derive


def test_philox_words_have_known_answers() -> None:
    assert [hex(int(word)) for word in Stream(0).words(3)] == KNOWN_WORDS


KNOWN_WORDS = ["0x2f4ba6408e4d89b", "0x3dd62b0b9ca8c5b2", "0x1c8667a55d902e79"]
"""The first outputs of Philox4x64-10 with key 0, recorded once."""


def test_normals_have_unit_variance_and_no_mean() -> None:
    values = Stream(7).normal((20000,))
    assert abs(values.mean()) < 0.03
    assert abs(values.std() - 1.0) < 0.02
    assert np.abs(values).max() <= 6.0


def test_uniforms_cover_the_unit_interval() -> None:
    values = Stream(8).uniform((20000,))
    assert values.min() >= 0.0
    assert values.max() < 1.0
    assert abs(values.mean() - 0.5) < 0.01


def test_seeds_depend_on_the_boundaries_of_labels() -> None:
    assert derive(0, "ab", "c") != derive(0, "a", "bc")
    assert derive(0, "1") != derive(0, 1)
    assert derive(0, "cases") == 0x65F7B701A46CCD17


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1.0, 0x3F80),
        (1.0 + 2.0**-8, 0x3F80),
        (1.0 + 3 * 2.0**-8, 0x3F82),
        (1.0 + 2.0**-8 + 2.0**-40, 0x3F81),
        (-2.5, 0xC020),
        (float("inf"), 0x7F80),
        (3.4e38, 0x7F80),
        (1e-40, 0x0001),
        (0.0, 0x0000),
    ],
)
def test_bfloat16_rounds_to_nearest_even_without_double_rounding(value: float, bits: int) -> None:
    assert int(narrow(np.array([value]), "bfloat16")[0]) == bits


def test_bfloat16_keeps_nan() -> None:
    assert np.isnan(to_float64(narrow(np.array([np.nan]), "bfloat16"), "bfloat16")).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_half_an_ulp_is_the_largest_rounding_error(dtype: str) -> None:
    values = Stream(9).normal((5000,)) * 37.0 + 1e-3
    rounded = to_float64(narrow(values, dtype), dtype)
    assert (np.abs(rounded - values) <= 0.5 * ulp(values, dtype)).all()
    assert (np.abs(rounded - values) > 0.4 * ulp(values, dtype)).any() or dtype == "float32"
