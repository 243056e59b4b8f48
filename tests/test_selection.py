"""Which tests a run takes, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import ASKED_FOR, pytest_collection_modifyitems


class Item:
    """A test with a name and markers."""

    def __init__(self, name: str, *markers: str) -> None:
        self.name, self._markers = name, markers

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self._markers else None


def taken(items: Sequence[Item], *options: str) -> tuple[list[str], list[str]]:
    """The names of those that run, in order, and of those that are reported as left out."""
    left_out: list[Item] = []

    def pytest_deselected(items: list[Item]) -> None:
        left_out.extend(items)

    hook = SimpleNamespace(pytest_deselected=pytest_deselected)
    config: Any = SimpleNamespace(getoption=lambda name: name in options, hook=hook)
    kept: Any = list(items)
    pytest_collection_modifyitems(config, kept)
    return [one.name for one in kept], [one.name for one in left_out]


@pytest.mark.parametrize("marker", ASKED_FOR)
def test_what_is_asked_for_only_runs_when_it_is(marker: str) -> None:
    items = [Item("a"), Item("b", marker), Item("c")]
    assert taken(items) == (["a", "c"], ["b"])
    assert taken(items, marker) == (["a", "b", "c"], [])


def test_asking_for_one_kind_brings_no_other() -> None:
    items = [Item("a", "gpu"), Item("b", "thorough"), Item("c", "gpu", "thorough")]
    assert taken(items, "thorough") == (["b"], ["a", "c"])


def test_dear_tests_begin_first_and_all_else_keeps_its_order() -> None:
    items = [Item("a"), Item("b", "slow"), Item("c"), Item("d", "slow", "gpu"), Item("e", "slow")]
    assert taken(items) == (["b", "e", "a", "c"], ["d"])
