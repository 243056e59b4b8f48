from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from harness.compose.evaluation.comparison import Contender, difference, table, to_json
from harness.compose.evaluation.estimates import Estimate, ratio
from harness.compose.evaluation.scores import Evaluation, Score


def accuracy(*right: float, per_item: bool = True) -> Score:
    return Score(
        task="t",
        metric="acc",
        estimate=ratio(right, [1.0] * len(right)),
        items=len(right),
        higher_is_better=True,
        chance=0.25,
        per_item=tuple((value, 1.0) for value in right) if per_item else None,
    )


def contender(name: str, *scores: Score) -> Contender:
    evaluation = Evaluation(scores=scores, table="")
    return Contender(name=name, composition="1M", parameters=12345, folder=None, evaluation=evaluation)


GOOD, POOR = accuracy(*[1.0] * 60, *[0.0] * 40), accuracy(*[1.0] * 30, *[0.0] * 70)


def rows(*contenders: Contender) -> list[str]:
    out = StringIO()
    Console(file=out, width=160).print(table(contenders))
    return [line for line in out.getvalue().splitlines() if line.strip()][: -len(contenders)]


def test_a_difference_is_over_the_same_items() -> None:
    found = difference(GOOD, POOR)
    assert found is not None
    assert found.value == pytest.approx(0.3)
    assert found.stderr == pytest.approx((0.3 * 0.7 / 99) ** 0.5)


def test_without_items_of_its_own_or_with_others_there_is_no_difference() -> None:
    assert difference(GOOD, accuracy(1.0, 0.0, per_item=False)) is None
    assert difference(GOOD, accuracy(1.0, 0.0)) is None


def test_a_score_within_two_standard_errors_of_chance_is_marked() -> None:
    header, good, poor = rows(contender("a", GOOD), contender("b", POOR))
    assert "minus a" in header
    assert "+7.1 stderr" in good
    assert "luck" not in good
    assert "+1.1 stderr, may be luck" in poor
    assert "-0.3000 ± 0.0461" in poor


def test_below_the_table_it_says_what_each_model_is() -> None:
    out = StringIO()
    Console(file=out, width=160).print(table([contender("a", GOOD), contender("b", POOR)]))
    assert [line.strip() for line in out.getvalue().splitlines()[-2:]] == ["a: 1M", "b: 1M"]


def test_a_model_without_a_score_keeps_its_row() -> None:
    _, good, none = rows(contender("a", GOOD), contender("b"))
    assert "0.6000" in good
    assert none.split() == ["t", "acc↑", "b", "12,345", "-", "-", "-"]


def test_the_document_tells_value_error_chance_and_difference() -> None:
    first, second = to_json([contender("a", GOOD), contender("b", POOR)])
    (score,) = second["scores"]
    assert first["scores"][0]["minus_first"] is None
    assert score["minus_first"]["value"] == pytest.approx(-0.3)
    assert score["stderrs_above_chance"] == pytest.approx((0.3 - 0.25) / POOR.estimate.stderr)
    assert (score["task"], score["metric"], score["items"], score["chance"]) == ("t", "acc", 100, 0.25)


def test_a_standard_error_of_zero_tells_no_distance_from_chance() -> None:
    sure = Score(
        task="t",
        metric="acc",
        estimate=Estimate(value=1.0, stderr=0.0),
        items=3,
        higher_is_better=True,
        chance=0.25,
        per_item=None,
    )
    assert "unknown" in rows(contender("a", sure))[1]
