"""One repository is made and committed once; every test gets a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.verify.gate.scratch import Scratch


@pytest.fixture(scope="session")
def _original(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    return Scratch.make(tmp_path_factory.mktemp("gate") / "repository")


@pytest.fixture
def scratch(_original: Scratch, tmp_path: Path) -> Scratch:
    shutil.copytree(_original.root, tmp_path / "repository", symlinks=True)
    return Scratch(tmp_path / "repository")
