"""What a run was asked for, beside its record, so that `harness resume` can ask for it again."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from harness.commands.design_agents import AgentRequest
from harness.commands.design_request import DesignRequest
from harness.engine.allowance import Allowance
from harness.errors import HarnessError

COMMAND_FILE = "command.json"


def write_command(request: DesignRequest, folder: Path) -> None:
    """Put the request into a run's folder, whole or not at all. Raises HarnessError where that cannot be.

    Paths are made absolute, so that a run goes on from wherever it is asked to.
    """
    text = json.dumps(asdict(request), indent=2, sort_keys=True, default=lambda path: str(path.resolve()))
    path = folder / COMMAND_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        incoming = path.with_suffix(".incoming")
        incoming.write_text(text + "\n", encoding="utf-8")
        incoming.replace(path)
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be written ({error.strerror}). Make room or permission, then run the same "
            "command again."
        ) from None


def read_command(folder: Path) -> DesignRequest:
    """The inverse of `write_command`. Raises HarnessError where there is none or it is damaged."""
    path = folder / COMMAND_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return _request(data)
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be read ({error.strerror}). Give the command that began the run once more."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HarnessError(
            f"{path}: expected what a run was asked for, got {error}. Give the command that began the run "
            "once more."
        ) from None


def _request(data: dict[str, Any]) -> DesignRequest:
    """Raises ValueError, KeyError, TypeError or AttributeError for anything but a request's fields."""
    expected = {field.name for field in fields(DesignRequest)}
    if set(data) != expected:
        raise ValueError(f"expected {sorted(expected)}, got {sorted(data)}")
    values: dict[str, Any] = {**data, "agents": tuple(_agent(agent) for agent in data["agents"])}
    for name in ("out", "runs", "output"):
        values[name] = None if data[name] is None else Path(data[name])
    return DesignRequest(**values)


def _agent(data: dict[str, Any]) -> AgentRequest:
    paths = {name: None if data.get(name) is None else Path(data[name]) for name in ("answers", "prices")}
    return AgentRequest(**{**data, **paths, "allowance": Allowance(**data["allowance"])})
