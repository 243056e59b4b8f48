"""What every test gets: one thread per worker, repeatable property tests, and no rare test by accident."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import settings

from verify.sandbox.client import Server

# Two workers with a thread pool each would fight over the same cores. Set here, before torch and NumPy load.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples on every machine and every run; no time limit per example, since cores are shared.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

ASKED_FOR = {
    "gpu": "also run the tests that need a GPU",
    "thorough": "also run the tests that show on more seeds and sizes what others show on few",
}
"""Markers of tests that only run with the option of their name."""


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One warm server for all tests of a process: it imports torch, which takes seconds."""
    with closing(Server()) as started:
        yield started


def pytest_addoption(parser: pytest.Parser) -> None:
    for marker, effect in ASKED_FOR.items():
        parser.addoption(f"--{marker}", action="store_true", help=effect)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [marker for marker in ASKED_FOR if not config.getoption(marker)]
    chosen, deselected = [], []
    for item in items:
        (deselected if any(map(item.get_closest_marker, left_out)) else chosen).append(item)
    if deselected:
        config.hook.pytest_deselected(items=deselected)
    # Dear ones first: one that began last would have a core to itself while the other one waits.
    items[:] = sorted(chosen, key=lambda item: item.get_closest_marker("slow") is None)
