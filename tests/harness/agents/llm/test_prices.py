from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.agents.llm.prices import Price, load_prices
from harness.agents.llm.protocol import Usage
from harness.errors import WrongUsage


def test_a_price_is_per_million_tokens() -> None:
    assert Price(input=2.0, output=8.0).of(Usage(read=1_500_000, written=250_000)) == 5.0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.toml", '["gpt-5"]\ninput = 9\noutput = 1.5\n[mine]\ninput = 0\noutput = 0\n'),
        ("p.json", '{"gpt-5": {"input": 9, "output": 1.5}, "mine": {"input": 0, "output": 0}}'),
    ],
)
def test_a_users_table_lies_over_the_shipped_one(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    shipped, prices = load_prices(), load_prices(tmp_path / name)
    assert prices == {**shipped, "gpt-5": Price(input=9.0, output=1.5), "mine": Price(input=0.0, output=0.0)}
    assert shipped["gpt-5"] != prices["gpt-5"]


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[]",
        '{"m": 1}',
        '{"m": {"input": 1}}',
        '{"m": {"input": -1, "output": 1}}',
        '{"m": {"input": NaN, "output": 1}}',
        '{"m": {"input": true, "output": 1}}',
        '{"m": {"input": 1, "output": 1, "cached": 1}}',
        '{"m": {"input": 1e308, "output": 1}}',
        '{"m": {"input": %s, "output": 1}}' % ("9" * 400),
        '{"m": {"input": %s, "output": 1}}' % ("9" * 5000),
        '{"m": {"input": "\\ud800\\u001b", "output": 1}}',
        '{"\\ud800\\n": 1}',
        "[" * 100_000,
    ],
)
def test_a_table_that_is_none_is_wrong_usage_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(WrongUsage, match="--prices") as caught:
        load_prices(tmp_path / "p.json")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", ["[m]\ninput = 0x%s\noutput = 1\n" % ("f" * 9000), "m = " + "[" * 100_000])
def test_a_table_in_toml_that_is_none_is_wrong_usage_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(WrongUsage, match="--prices") as caught:
        load_prices(tmp_path / "p.toml")
    assert str(caught.value).isprintable()


def test_what_the_most_tokens_cost_at_the_highest_price_is_a_number() -> None:
    dearest = Price(input=1e9, output=1e9)
    assert dearest.of(Usage(read=2**53, written=2**53)) < math.inf


def test_a_missing_table_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="cannot be read"):
        load_prices(tmp_path / "p.json")
