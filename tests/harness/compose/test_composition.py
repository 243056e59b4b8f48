from __future__ import annotations

import pytest

from harness.compose.composition import Composition, parse
from harness.errors import WrongUsage


@pytest.mark.parametrize(
    "tokens", [("mA", "M"), ("7pug5cm5", "M", "7pug5cm5"), ("6riasqzz",), ("pzbb45xn", "pzbb45xn", "Mb")]
)
def test_both_forms_read_back(tokens):
    composition = Composition(tokens)
    assert parse(str(composition)) == composition
    assert parse(composition.run_length()) == composition


def test_composers_form_is_read():
    assert parse("2A+1M+Mb").tokens == ("mA", "mA", "M", "Mb")
    assert parse("3*7pug5cm5").tokens == ("7pug5cm5",) * 3


@pytest.mark.parametrize("text", ["", "mA,M", "0M", "2*", "mA + -"])
def test_what_is_no_composition_is_refused(text):
    with pytest.raises(WrongUsage, match="expected"):
        parse(text)
