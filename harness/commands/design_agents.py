"""Opens the agent that `design` was asked for, with what it needs: a key, a recording, prices."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from harness.agents.grammar.agent import GrammarAgent
from harness.agents.llm.agent import MAX_TOKENS, LLMAgent
from harness.agents.llm.openai_backend import from_environment, key_and_url
from harness.agents.llm.prices import Price, load_prices
from harness.agents.llm.recording import Recorder, Replay
from harness.agents.protocol import Agent
from harness.engine.allowance import Allowance
from harness.engine.members import Member
from harness.errors import WrongUsage
from harness.policies.opening import DEFAULT, open_policy

ONLY = "agent"
"""The name of an agent that is alone."""

AgentKind = Literal["grammar", "openai", "replay"]


@dataclass(frozen=True, kw_only=True)
class AgentRequest:
    """Which agent, under which policy, and what else was said about it. `concurrency` counts requests under
    way, `share` proposals beside the other agents' shares, `allowance` is what this agent may spend.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  as DesignRequest

    kind: AgentKind = "grammar"
    name: str = ONLY
    policy: str = DEFAULT
    share: Annotated[int, Ge(1)] = 1
    allowance: Allowance = field(default_factory=Allowance)
    model: str | None = None
    answers: Path | None = None
    prices: Path | None = None
    concurrency: Annotated[int, Ge(1)] = 8
    max_tokens: Annotated[int, Ge(1)] = MAX_TOKENS

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
def open_members(
    requests: Sequence[AgentRequest], runs: Path, *, priced: bool = False
) -> Iterator[tuple[Member, ...]]:
    """The agents under their policies, for as long as the block lasts. Raises as `open_agent`."""
    with contextlib.ExitStack() as stack:
        yield tuple(
            Member(
                agent=stack.enter_context(open_agent(request, runs, priced=priced)),
                policy=open_policy(request.policy),
                name=request.name,
                share=request.share,
                allowance=request.allowance,
            )
            for request in requests
        )


@contextlib.contextmanager
def open_agent(request: AgentRequest, runs: Path, *, priced: bool = False) -> Iterator[Agent]:
    """The agent, for as long as the block lasts.

    Answers of a model are recorded in `request.answers`, or in `<runs>/answers/<model>.jsonl`, which in an
    ensemble has the agent's name too. `priced` says that a limit in US dollars holds for it. Raises
    WrongUsage for options that do not go together, a missing key, or a model without a price where one is
    needed, HarnessError where a file cannot be had.
    """
    check_agent(request)
    if request.kind == "grammar":
        yield GrammarAgent()
        return
    prices = load_prices(request.prices)
    if request.kind == "replay":
        assert request.answers is not None, "checked above"
        replay = Replay(request.answers, request.model)
        _expect_price(replay.model, request, prices, needed=priced)
        yield LLMAgent(replay, prices, label=replay.digest, max_tokens=request.max_tokens)
    else:
        assert request.model is not None, "checked above"
        _expect_price(request.model, request, prices, needed=priced)
        backend = from_environment(request.model, concurrency=request.concurrency)
        recorder = Recorder(backend, request.answers or runs / "answers" / f"{_file_name(request)}.jsonl")
        try:
            yield LLMAgent(recorder, prices, max_tokens=request.max_tokens)
        finally:
            recorder.release()


def _expect_price(model: str, request: AgentRequest, prices: Mapping[str, Price], *, needed: bool) -> None:
    """A limit that nobody can add up to is none."""
    if model not in prices and (needed or request.allowance.usd is not None):
        raise WrongUsage(
            f"--usd: expected a price for {model!r}, got none, so that this limit would not hold. Give it "
            "with --prices, or limit --tokens instead."
        )


def _expect_none(request: AgentRequest) -> None:
    for option, value in (("model", request.model), ("answers", request.answers), ("prices", request.prices)):
        if value is not None:
            raise WrongUsage(
                f"--{option}: expected an agent that asks a model, got --agent grammar. Add --agent openai "
                "or --agent replay."
            )


def _file_name(request: AgentRequest) -> str:
    """E.g. `org--model` for the only agent, of model `org/model`. Of several agents, whose files must differ,
    the name is in it too, and a digest where letters were replaced.
    """
    assert request.model is not None, "checked before"
    title = request.model if request.name == ONLY else f"{request.model}.{request.name}"
    name = re.sub(r"[^A-Za-z0-9._-]+", "--", title).strip(".") or "model"
    if request.name == ONLY or name == title:
        return name
    return f"{name}-{hashlib.sha256(title.encode(errors='replace')).hexdigest()[:8]}"
