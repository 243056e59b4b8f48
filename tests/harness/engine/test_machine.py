from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.engine.machine import JUDGE_BYTES, judge_processes
from harness.engine.settings import ROUND_WIDTH


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 cores that says nothing of its memory."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "proc").mkdir()
    (tmp_path / "sys" / "fs" / "cgroup").mkdir(parents=True)
    return tmp_path


def meminfo(root: Path, judges: float) -> None:
    kib = int(judges * JUDGE_BYTES) >> 10
    (root / "proc" / "meminfo").write_text(f"MemTotal: 999999999 kB\nMemAvailable: {kib} kB\n")


def test_there_are_no_more_judges_than_a_round_has_proposals(machine: Path) -> None:
    assert judge_processes(machine) == ROUND_WIDTH


def test_there_are_no_more_judges_than_cores_that_may_be_used(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert judge_processes(machine) == 2


@pytest.mark.parametrize(("quota", "judges"), [("150000 100000", 2), ("max 100000", ROUND_WIDTH)])
def test_there_are_no_more_judges_than_cores_of_a_containers_quota(
    machine: Path, quota: str, judges: int
) -> None:
    (machine / "sys" / "fs" / "cgroup" / "cpu.max").write_text(f"{quota}\n")
    assert judge_processes(machine) == judges


@pytest.mark.parametrize(("room", "judges"), [(0.5, 1), (1.0, 1), (2.9, 2), (5.0, 5), (50.0, ROUND_WIDTH)])
def test_judges_fit_into_the_available_memory(machine: Path, room: float, judges: int) -> None:
    meminfo(machine, room)
    assert judge_processes(machine) == judges


def test_judges_fit_into_what_a_container_leaves(machine: Path) -> None:
    meminfo(machine, 50.0)
    group = machine / "sys" / "fs" / "cgroup"
    (group / "memory.current").write_text(f"{JUDGE_BYTES}\n")
    (group / "memory.max").write_text("max\n")
    assert judge_processes(machine) == ROUND_WIDTH
    (group / "memory.max").write_text(f"{4 * JUDGE_BYTES}\n")
    assert judge_processes(machine) == 3
    (group / "memory.max").write_text(f"{JUDGE_BYTES // 2}\n")
    assert judge_processes(machine) == 1


def test_this_machine_takes_at_least_one() -> None:
    assert 1 <= judge_processes() <= ROUND_WIDTH
