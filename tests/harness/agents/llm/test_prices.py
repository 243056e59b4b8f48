from __future__ import annotations

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
    ],
)
def test_a_table_that_is_none_is_wrong_usage(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(WrongUsage, match="--prices"):
        load_prices(tmp_path / "p.json")


def test_a_missing_table_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="cannot be read"):
        load_prices(tmp_path / "p.json")
