"""What every test gets: one thread per worker, repeatable property tests, and no GPU test by accident."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Two workers with a thread pool each would fight over the same cores. Set here, before torch and NumPy load.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples on every machine and every run; no time limit per example, since cores are shared.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gpu", action="store_true", help="also run the tests that need a GPU")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--gpu"):
        return
    needs_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if needs_gpu:
        config.hook.pytest_deselected(items=needs_gpu)
        items[:] = [item for item in items if item not in needs_gpu]
