"""What `harness design` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, MinLen

from harness.commands.design_agents import AgentRequest
from harness.engine.settings import Depth
from harness.objectives.opening import DEFAULT


@dataclass(frozen=True, kw_only=True)
class DesignRequest:
    """What the command line asked for. `tokens`, `usd` and `seconds` are limits, None for none; `workers` is
    None for as many judges as the machine takes that goes on with the run.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  a file with other fields is no request

    family: str
    budget: Annotated[int, Ge(1)]
    admit: Annotated[int, Ge(1)]
    seed: int
    out: Path
    runs: Path
    depth: Depth
    workers: Annotated[int, Ge(1)] | None
    as_json: bool
    output: Path | None
    agents: Annotated[tuple[AgentRequest, ...], MinLen(1)] = (AgentRequest(),)
    objective: str = DEFAULT
    tokens: Annotated[int, Ge(1)] | None = None
    usd: Annotated[float, Ge(0.0)] | None = None
    seconds: Annotated[float, Ge(0.0)] | None = None
