"""Opens the agent that `design` was asked for, with what it needs: a key, a recording, prices."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.agents.grammar.agent import GrammarAgent
from harness.agents.llm.agent import MAX_TOKENS, LLMAgent
from harness.agents.llm.openai_backend import from_environment, key_and_url
from harness.agents.llm.prices import load_prices
from harness.agents.llm.recording import Recorder, Replay
from harness.agents.protocol import Agent
from harness.errors import WrongUsage

AgentKind = Literal["grammar", "openai", "replay"]


@dataclass(frozen=True, kw_only=True)
class AgentRequest:
    """Which agent, and what the command line said about it. `concurrency` counts requests under way."""

    kind: AgentKind = "grammar"
    model: str | None = None
    answers: Path | None = None
    prices: Path | None = None
    concurrency: int = 8
    max_tokens: int = MAX_TOKENS

    @property
    def writes_files(self) -> bool:
        """Does it write whole files, so that it can also make mechanisms of no family?"""
        return self.kind != "grammar"


def check_agent(request: AgentRequest) -> None:
    """Find out before anything is loaded that options do not go together, or that a key is missing.

    Raises WrongUsage.
    """
    if request.kind == "grammar":
        _expect_none(request)
    elif request.kind == "replay" and request.answers is None:
        raise WrongUsage("--agent replay: expected recorded answers, got none. Name a file by --answers.")
    elif request.kind == "openai":
        if not request.model:
            raise WrongUsage("--agent openai: expected a model, got none. Name one by --model.")
        key_and_url()


@contextlib.contextmanager
def open_agent(request: AgentRequest, runs: Path) -> Iterator[Agent]:
    """The agent, for as long as the block lasts.

    Answers of a model are recorded in `request.answers`, or in `<runs>/answers/<model>.jsonl`. Raises
    WrongUsage for options that do not go together or a missing key, HarnessError where a file cannot be had.
    """
    check_agent(request)
    if request.kind == "grammar":
        yield GrammarAgent()
        return
    prices = load_prices(request.prices)
    if request.kind == "replay":
        assert request.answers is not None, "checked above"
        replay = Replay(request.answers, request.model)
        yield LLMAgent(replay, prices, label=replay.digest, max_tokens=request.max_tokens)
    else:
        assert request.model is not None, "checked above"
        backend = from_environment(request.model, concurrency=request.concurrency)
        recorder = Recorder(
            backend, request.answers or runs / "answers" / f"{_file_name(request.model)}.jsonl"
        )
        try:
            yield LLMAgent(recorder, prices, max_tokens=request.max_tokens)
        finally:
            recorder.release()


def _expect_none(request: AgentRequest) -> None:
    for option, value in (("model", request.model), ("answers", request.answers), ("prices", request.prices)):
        if value is not None:
            raise WrongUsage(
                f"--{option}: expected an agent that asks a model, got --agent grammar. Add --agent openai "
                "or --agent replay."
            )


def _file_name(model: str) -> str:
    """A model's name as a file's, e.g. `org--model` for `org/model`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "--", model).strip(".") or "model"
