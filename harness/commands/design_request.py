"""What `harness design` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.commands.design_agents import AgentRequest
from harness.engine.settings import Depth
from harness.objectives.opening import DEFAULT


@dataclass(frozen=True, kw_only=True)
class DesignRequest:
    """What the command line asked for. `tokens`, `usd` and `seconds` are limits, None for none; `workers` is
    None for as many judges as the machine takes that goes on with the run.
    """

    family: str
    budget: int
    admit: int
    seed: int
    out: Path
    runs: Path
    depth: Depth
    workers: int | None
    as_json: bool
    output: Path | None
    agents: tuple[AgentRequest, ...] = (AgentRequest(),)
    objective: str = DEFAULT
    tokens: int | None = None
    usd: float | None = None
    seconds: float | None = None
