"""Design runs that differ in their policy and their seed only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.agents.grammar.agent import GrammarAgent
from harness.agents.protocol import Task
from harness.engine.design import DesignResult, run_design
from harness.engine.members import Member
from harness.engine.pool import JudgeFactory
from harness.engine.run_folder import RUN_FILE
from harness.engine.settings import Depth, Settings
from harness.engine.skeletons import load_skeletons
from harness.engine.state import RunState
from harness.objectives.opening import open_objective
from harness.policies.cells import elites
from harness.policies.opening import open_policy
from harness.store import Store
from verify.source.lock import DEFAULT_TEMPLATES


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared: each policy from each seed, with `budget` proposals judged at `depth`."""

    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    budget: int
    depth: Depth
    family: str = "all"
    objective: str = "throughput"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one run came to. `passed` counts mechanisms: admitted ones, at depth quick those that passed it;
    `cells` those of the archive that they fill; `best` is the best score, None where nothing passed.
    """

    policy: str
    seed: int
    passed: int
    cells: int
    best: float | None
    rejected: int
    duplicate: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def run_all(
    comparison: Comparison,
    folder: Path,
    *,
    judges: JudgeFactory,
    workers: int,
    told: Callable[[str], None],
) -> Iterator[Found]:
    """Every run, seed by seed; one that was stopped goes on, one that is finished is only read."""
    for seed in comparison.seeds:
        for policy in comparison.policies:
            result = run_one(comparison, policy, seed, folder, judges=judges, workers=workers)
            found = _found(policy, seed, result)
            told(f"{policy}, seed {seed}: {found.passed} passed of {comparison.budget}, {found.cells} cells")
            yield found


def run_one(
    comparison: Comparison, policy: str, seed: int, folder: Path, *, judges: JudgeFactory, workers: int
) -> DesignResult:
    """One run; everything of it lies under `<folder>/<policy>-<seed>`, so that no run sees another's."""
    skeletons = load_skeletons(comparison.family, DEFAULT_TEMPLATES)
    member = Member(agent=GrammarAgent(), policy=open_policy(policy))
    home = folder / f"{policy}-{seed}"
    objective = open_objective(comparison.objective, runs=home, workers=workers)
    task = Task(skeletons=skeletons, seed=seed)
    settings = Settings.of(
        task,
        (member,),
        objective,
        family=comparison.family,
        budget=comparison.budget,
        admit=comparison.budget,
        depth=comparison.depth,
    )
    return run_design(
        settings,
        task,
        (member,),
        objective=objective,
        out=home / "out",
        runs=home,
        judges=judges,
        workers=workers,
        observe=_silent,
    )


def _silent(_state: RunState, _message: str) -> None:
    """Runs tell nothing; the comparison tells of each when it has ended."""


def differing_events(ours: Path, theirs: Path) -> list[int]:
    """The places at which two run folders tell different stories, clocks and costs left aside."""
    with (
        Store(ours / RUN_FILE, read_only=True) as first,
        Store(theirs / RUN_FILE, read_only=True) as second,
    ):
        left, right = list(first.events()), list(second.events())
    places = range(max(len(left), len(right)))
    return [n for n in places if n >= len(left) or n >= len(right) or left[n] != right[n]]


def _found(policy: str, seed: int, result: DesignResult) -> Found:
    state = result.state
    outcomes = [entry.outcome() for entry in state.entries]
    wanted = "admitted" if result.settings.depth == "full" else "clean"
    passed = [outcome for outcome in outcomes if outcome.status == wanted]
    return Found(
        policy=policy,
        seed=seed,
        passed=len(passed),
        cells=len(elites(passed)),
        best=max((outcome.score for outcome in passed if outcome.score is not None), default=None),
        rejected=len(state.with_status("rejected")),
        duplicate=len(state.with_status("duplicate")),
    )
