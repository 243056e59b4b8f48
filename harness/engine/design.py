"""The design run: rounds of proposals, screened at the quick depth, the most different clean ones judged in
full.

Feedback reaches the agent between rounds and in proposal order, so the results depend on the settings alone:
not on the number of judge processes, not on how fast each was, and not on how often the run was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.agents.identity import identity
from harness.agents.protocol import Agent, Ask, Evidence, Outcome, RoundAgent, Task
from harness.engine.folders import remove_unfinished, write_candidate, written_verdicts
from harness.engine.pool import JudgeFactory, JudgePool, JudgeTask
from harness.engine.selection import choose_full, choose_parent
from harness.engine.settings import Settings
from harness.engine.state import Entry, RunState, are_twins, judged_body, proposed_body
from harness.errors import HarnessError
from harness.locks import exclusive
from harness.store import Store
from verify.judge.verdict import Depth
from verify.source.identity import short_id

Observer = Callable[[RunState, str], None]
"""Told of every change: the state, and a line that says what changed."""


@dataclass(frozen=True, kw_only=True)
class DesignResult:
    """What a finished run leaves: its state, the folder of each admitted candidate, and why it stopped.

    `folders` maps positions to folders; `twins` maps those that were admitted but not written to the folder
    of an earlier run that computes the same.
    """

    settings: Settings
    state: RunState
    run_file: Path
    folders: dict[int, Path]
    twins: dict[int, Path]
    stopped: str


def run_design(
    settings: Settings,
    task: Task,
    agent: Agent,
    *,
    out: Path,
    runs: Path,
    judges: JudgeFactory,
    workers: int,
    observe: Observer,
) -> DesignResult:
    """Run, or go on with, the search that `settings` names.

    Admitted candidates go to `<out>/<family>/`, the record to `<runs>/<run id>/run.sqlite`. Raises
    HarnessError where a folder is in use or cannot be written, or where a candidate could not be judged;
    what was finished is kept.
    """
    folder = runs / settings.run_id
    with exclusive(folder), exclusive(out), Store(folder / "run.sqlite") as store:
        remove_unfinished(out)
        with JudgePool(judges, workers=workers) as pool:
            return _Run(settings, task, agent, store, pool, out, observe).finish()


class _Run:
    """One run under way; every step skips what the store already holds."""

    def __init__(
        self,
        settings: Settings,
        task: Task,
        agent: Agent,
        store: Store,
        pool: JudgePool,
        out: Path,
        observe: Observer,
    ) -> None:
        self._settings = settings
        self._task = task
        self._agent = agent
        self._store = store
        self._pool = pool
        self._out = out
        self._observe = observe
        self._folders: dict[int, Path] = {}
        self._twins: dict[int, Path] = {}
        self._check_settings()
        self._state = RunState.replay(store)

    def finish(self) -> DesignResult:
        if self._state.entries:
            self._observe(
                self._state,
                f"going on with {self._settings.run_id}: {len(self._state.entries)} proposals found",
            )
        stopped = f"the budget of {self._settings.budget} proposals is used up"
        for number, start in enumerate(range(0, self._settings.budget, self._settings.width)):
            stop = min(start + self._settings.width, self._settings.budget)
            self._propose(start, stop)
            self._judge((entry for entry in self._state.entries[start:stop] if entry.for_the_judge), "quick")
            if self._settings.depth == "full":
                self._judge(self._select(number), "full")
                self._write()
            if self._state.admitted_by(number) >= self._settings.admit:
                reached = f"{stop} of {self._settings.budget} proposals"
                stopped = f"the limit of {self._settings.admit} admitted was reached after {reached}"
                break
        return DesignResult(
            settings=self._settings,
            state=self._state,
            run_file=self._store.path,
            folders=self._folders,
            twins=self._twins,
            stopped=stopped,
        )

    def _check_settings(self) -> None:
        """The first event holds the settings; a file under this run id that holds others is not this run."""
        ours = self._settings.to_json()
        first = next(self._store.events(), None)
        if first is None:
            self._store.append("started", ours)
        elif first.kind != "started" or first.body != ours:
            raise HarnessError(
                f"{self._store.path}: expected the settings of this run, got others. Choose another --runs."
            )

    def _propose(self, start: int, stop: int) -> None:
        outcomes = self._state.outcomes(start)
        missing = range(len(self._state.entries), stop)
        if isinstance(self._agent, RoundAgent) and missing:
            self._agent.prepare(self._task, [self._ask(position, outcomes) for position in missing])
        for position in missing:
            ask = self._ask(position, outcomes)
            proposal = self._agent.propose(self._task, ask.parent, ask.evidence)
            body = proposed_body(position, identity(position, proposal), proposal)
            event = self._store.append_with_source("proposed", body, proposal.source.encode())
            self._state.apply(event, self._store)
            self._observe(self._state, f"proposed {_title(self._state.entries[position])}")

    def _ask(self, position: int, outcomes: tuple[Outcome, ...]) -> Ask:
        known = self._state.known_texts() | {skeleton.fingerprint for skeleton in self._task.skeletons}
        return Ask(
            parent=choose_parent(outcomes, seed=self._settings.seed, position=position),
            evidence=Evidence(position=position, outcomes=outcomes, known=known),
        )

    def _judge(self, entries: Iterable[Entry], depth: Depth) -> None:
        missing = [entry for entry in entries if (entry.full if depth == "full" else entry.quick) is None]
        tasks = [_task(entry, depth) for entry in missing]
        for task, judged in self._pool.judge(tasks):
            event = self._store.append("judged", judged_body(task.position, judged))
            self._state.apply(event, self._store)
            entry = self._state.entries[task.position]
            self._observe(self._state, f"{depth} {_title(entry)}: {entry.status}{_first_rule(entry)}")

    def _select(self, number: int) -> list[Entry]:
        """The round's candidates for the full depth, recorded before any of them is judged."""
        if number not in self._state.selected:
            room = self._settings.admit - self._state.admitted_by(number)
            positions = choose_full(self._state, max(0, min(self._settings.full_per_round, room)))
            event = self._store.append("selected", {"round": number, "positions": list(positions)})
            self._state.apply(event, self._store)
        return [self._state.entries[position] for position in self._state.selected[number]]

    def _write(self) -> None:
        """Put every admitted candidate in its folder, unless an earlier run's there computes the same."""
        for entry in self._state.with_status("admitted"):
            if entry.position in self._folders or entry.position in self._twins:
                continue
            assert entry.full is not None
            name = f"{entry.proposal.slug}-{short_id(entry.full.source_hash)}"
            family = entry.proposal.skeleton.split("/", 1)[0]
            present = written_verdicts(self._out, family)
            twin = next((folder for verdict, folder in present if are_twins(verdict, entry.full)), None)
            if twin is not None and twin.name != name:
                self._twins[entry.position] = twin
                self._observe(self._state, f"not written {_title(entry)}: computes the same as {twin}")
                continue
            self._folders[entry.position] = write_candidate(
                self._out,
                family=family,
                name=name,
                source=entry.proposal.source.encode(),
                verdict=entry.full.to_bytes(),
                measured=entry.measured,
            )
            self._observe(self._state, f"admitted {_title(entry)}: {self._folders[entry.position]}")


def _task(entry: Entry, depth: Depth) -> JudgeTask:
    path = f"{entry.proposal.slug}.py"
    return JudgeTask(position=entry.position, path=path, source=entry.proposal.source.encode(), depth=depth)


def _title(entry: Entry) -> str:
    problem = f": unusable, {entry.proposal.problem}" if entry.proposal.problem else ""
    return f"#{entry.position + 1} {entry.proposal.slug} ({entry.proposal.operator}){problem}"


def _first_rule(entry: Entry) -> str:
    if entry.same_as is not None:
        return f" of #{entry.same_as + 1}"
    if entry.behaves_like is not None:
        return f": computes the same as #{entry.behaves_like + 1}"
    return f" by {entry.findings[0].rule}" if entry.status == "rejected" and entry.findings else ""
