"""Results that are kept between versions hang on the recipe: what changes these numbers must raise RECIPE."""

from __future__ import annotations

import pytest

from harness.compose.proxies.request import RECIPE
from harness.compose.proxies.training import evaluate
from tests.harness.compose.proxies.requests import CANDIDATES, request


@pytest.mark.parametrize(
    ("stack", "task", "loss"),
    [
        ("mA M", "in-context-recall", 3.28664),
        ("Mb M", "selective-copying", 2.19324),
        ("pzbb45xn M", "memorization", 4.47907),
    ],
)
def test_the_first_steps_of_recipe_1_lose_what_they_lost_when_it_was_new(
    stack: str, task: str, loss: float
) -> None:
    assert RECIPE == 1
    result = evaluate(request(stack, task=task, steps=20), candidates=CANDIDATES)
    assert result.loss == pytest.approx(loss, abs=2e-3)
