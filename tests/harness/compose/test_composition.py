from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compose.composition import Composition, parse
from harness.errors import WrongUsage

TOKENS = st.sampled_from(["mA", "M", "Mb", "pzbb45xn", "7pug5cm5", "3ataspan"])


@given(st.lists(TOKENS, min_size=1, max_size=32))
def test_both_ways_to_write_a_composition_read_back_as_the_same(tokens: list[str]) -> None:
    composition = Composition(tuple(tokens))
    assert parse(str(composition)) == composition
    assert parse(composition.run_length()) == composition
    assert Composition.from_runs(composition.runs) == composition


def test_composers_letters_are_read() -> None:
    assert parse("2A+5M+2A+3M+1A+3M").counts() == {"mA": 5, "M": 11}


@pytest.mark.parametrize("text", ["", "   ", "mA ! M", "0M", "2*", "-3M", "mA,M"])
def test_what_is_no_composition_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(WrongUsage, match=r"expected .*M"):
        parse(text)


@pytest.mark.parametrize("text", ["999999999mA", f"1{'0' * 5000}M", "5000*7pug5cm5"])
def test_counts_beyond_any_model_are_refused(text: str) -> None:
    with pytest.raises(WrongUsage, match="counts from 1 to 4096"):
        parse(text)
