"""Reads the file that says which agents share a run: `harness design --ensemble FILE`."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from harness.agents.llm.agent import MAX_TOKENS
from harness.commands.design_agents import AgentKind, AgentRequest, check_agent
from harness.engine.allowance import Allowance
from harness.errors import WrongUsage
from harness.policies.opening import DEFAULT, open_policy

_TEXTS = ("name", "agent", "model", "policy", "answers", "prices")
_COUNTS = ("share", "concurrency", "max_tokens", "proposals", "tokens")
_AMOUNTS = ("usd", "seconds")
_MOST = 10**12
_KEYS = (*_TEXTS, *_COUNTS, *_AMOUNTS)


def agents_of(alone: AgentRequest, ensemble: Path | None) -> tuple[AgentRequest, ...]:
    """The agents of the file, or without one the single agent that options describe.

    Raises WrongUsage where options describe an agent beside the file, and as `load_ensemble`.
    """
    if ensemble is None:
        return (alone,)
    if alone != AgentRequest():
        raise WrongUsage(
            "--ensemble: expected agents, models and policies in the file only, got options of a single "
            "agent. Leave out --agent, --policy, --model, --answers, --prices, --concurrency, --max-tokens."
        )
    return load_ensemble(ensemble)


def load_ensemble(path: Path) -> tuple[AgentRequest, ...]:
    """The agents of a TOML file, one `[[agents]]` table each.

    Keys: name, agent (grammar, openai, replay), model, policy, share, answers, prices, concurrency,
    max_tokens, and what the agent may spend: proposals, tokens, usd, seconds. Paths are relative to the file.
    Raises WrongUsage where the file cannot be read or says anything else.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WrongUsage(f"--ensemble: {path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise WrongUsage(f"--ensemble: {path}: expected TOML, got {error}") from None
    tables = data.get("agents")
    if set(data) != {"agents"} or not isinstance(tables, list) or not tables:
        raise WrongUsage(
            f"--ensemble: {path}: expected [[agents]] tables and nothing else, got {sorted(data)}."
        )
    members = tuple(_member(table, f"{path}: agent {n}", path.parent) for n, table in enumerate(tables, 1))
    names = [member.name for member in members]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise WrongUsage(
            f"--ensemble: {path}: expected each name once, got {', '.join(twice)} again. Add names."
        )
    files = [member.answers.resolve() for member in members if member.kind == "openai" and member.answers]
    shared = sorted({str(file) for file in files if files.count(file) > 1})
    if shared:
        raise WrongUsage(
            f"--ensemble: {path}: expected a file of answers for each agent that asks, got {shared[0]} again."
        )
    return members


def _member(table: Any, where: str, folder: Path) -> AgentRequest:
    if not isinstance(table, dict):
        raise WrongUsage(f"--ensemble: {where}: expected a table, got {table!r}.")
    for key, value in table.items():
        _check(key, value, where)
    kind = table.get("agent", "grammar")
    if kind not in get_args(AgentKind):
        raise WrongUsage(
            f"--ensemble: {where}: expected agent to be grammar, openai or replay, got {kind!r}."
        )
    policy = table.get("policy", DEFAULT)
    open_policy(policy)
    request = AgentRequest(
        kind=kind,
        name=table.get("name", f"{table.get('model', kind)} {policy}"),
        policy=policy,
        share=table.get("share", 1),
        model=table.get("model"),
        answers=_path(table, "answers", folder),
        prices=_path(table, "prices", folder),
        concurrency=table.get("concurrency", 8),
        max_tokens=table.get("max_tokens", MAX_TOKENS),
        allowance=Allowance(**{key: table.get(key) for key in ("proposals", "tokens", "usd", "seconds")}),
    )
    check_agent(request)
    return request


def _check(key: str, value: Any, where: str) -> None:
    """Raises WrongUsage for a key that nobody reads, or a value that is of another kind."""
    if key not in _KEYS:
        near = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.0)
        raise WrongUsage(f"--ensemble: {where}: unknown key {key!r}; nearest: {near[0]}.")
    if key in _TEXTS and not (isinstance(value, str) and value):
        raise WrongUsage(f"--ensemble: {where}: expected {key} to be a text, got {value!r}.")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if key in _COUNTS and not (number and isinstance(value, int) and 1 <= value <= _MOST):
        raise WrongUsage(
            f"--ensemble: {where}: expected {key} to be a whole number from 1 to {_MOST}, got {value!r}."
        )
    if key in _AMOUNTS and not (number and 0 < value < math.inf):
        raise WrongUsage(f"--ensemble: {where}: expected {key} to be a number above 0, got {value!r}.")


def _path(table: Mapping[str, Any], key: str, folder: Path) -> Path | None:
    return folder / table[key] if key in table else None
