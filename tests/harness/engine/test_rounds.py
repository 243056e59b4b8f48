from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.agents.protocol import Ask, Task
from harness.engine.design import run_design
from harness.engine.members import Member
from harness.errors import HarnessError
from harness.objectives.lines import Lines
from harness.policies.by_status import ByStatus
from tests.harness.engine.fake_judge import open_fake
from tests.harness.engine.scripted_agent import TASK, ScriptedAgent, settings

WORDS = ["a", "b", "c", "d"]
LONG = 20.0
"""Seconds after which an agent gives up waiting, so that a run that cannot be interrupted fails its test."""


class _Waits(ScriptedAgent):
    """A round agent that waits for answers; the last of `together` to begin interrupts the main thread."""

    def __init__(self, together: threading.Barrier) -> None:
        super().__init__(WORDS)
        self.together = together
        self.cancelled = threading.Event()
        self.in_time = False

    def prepare(self, task: Task, asks: Sequence[Ask]) -> None:
        if self.together.wait(LONG) == 0:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        self.in_time = self.cancelled.wait(LONG)
        raise HarnessError("no answer was had")

    def cancel(self) -> None:
        self.cancelled.set()


@pytest.mark.parametrize("agents", [1, 2])
def test_whoever_interrupts_a_round_does_not_wait_for_answers(tmp_path: Path, agents: int) -> None:
    together = threading.Barrier(agents)
    members = tuple(
        Member(agent=_Waits(together), policy=ByStatus(), name=f"agent{number}") for number in range(agents)
    )
    with pytest.raises(KeyboardInterrupt):
        run_design(
            replace(settings(WORDS), members=tuple(member.settings for member in members)),
            TASK,
            members,
            objective=Lines(),
            out=tmp_path / "out",
            runs=tmp_path / "runs",
            judges=open_fake,
            workers=1,
            observe=lambda state, message: None,
        )
    assert [member.agent.in_time for member in members if isinstance(member.agent, _Waits)] == [True] * agents
