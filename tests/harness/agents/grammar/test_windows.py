from __future__ import annotations

import pytest

from harness.agents.grammar.growth import change, draw, shrink
from harness.agents.grammar.productions import WINDOWS
from harness.agents.grammar.weights import Weights
from harness.agents.grammar.windows import (
    Window,
    describe_window,
    window_body,
    window_from_json,
    window_to_json,
)
from harness.chance import generator
from tests.harness.agents.grammar.tile_language import run_body


def drawn_windows() -> list[Window]:
    windows: list[Window] = []
    for n in range(40):
        rng = generator(3, "window", n)
        content = change(rng, Weights(), "window", draw(rng, Weights(), "window"))
        assert isinstance(content, Window)
        windows.append(content)
    return windows


@pytest.mark.parametrize("window", [*WINDOWS.values(), *drawn_windows()], ids=describe_window)
def test_a_token_sees_itself_at_every_length(window: Window) -> None:
    seen = [run_body(window_body(window), {"T": T}, {}) for T in (1, 2, 63, 521)]
    assert all(isinstance(tokens, int) and tokens >= 1 for tokens in seen)
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("window", "seen"),
    [(Window(), 100), (Window(tokens=32, parts=0), 32), (Window(tokens=1, parts=2), 51)],
    ids=["all", "fixed", "half"],
)
def test_the_body_computes_what_the_window_says(window: Window, seen: int) -> None:
    assert run_body(window_body(window), {"T": 100}, {}) == seen


def test_draws_reach_windows_that_are_no_production() -> None:
    assert {describe_window(window) for window in drawn_windows()} - {
        describe_window(window) for window in WINDOWS.values()
    }


def test_the_simplest_window_is_everything() -> None:
    assert shrink(generator(0, "shrink"), Window(tokens=16, parts=4)) == WINDOWS["all"]


@pytest.mark.parametrize("window", [*WINDOWS.values(), *drawn_windows()], ids=describe_window)
def test_json_keeps_the_window(window: Window) -> None:
    assert window_from_json(window_to_json(window)) == window


@pytest.mark.parametrize("data", ["x", [1.0], [1.5, 0.0], ["x", 1.0], [0.0, 0.0], [0.0, 2.0], [-1.0, 1.0]])
def test_json_that_is_no_window_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        window_from_json(data)  # type: ignore[arg-type]
