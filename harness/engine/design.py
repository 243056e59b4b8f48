"""The design run: rounds of proposals, screened at the quick depth, the most different clean ones judged in
full.

Feedback reaches the agents between rounds and in proposal order, so the results depend on the settings alone:
not on the number of judge processes, not on how fast each was, and not on how often the run was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.agents.protocol import Task
from harness.engine.allowance import Allowance, Spent
from harness.engine.folders import remove_unfinished, write_candidate, written_verdicts
from harness.engine.members import Member, with_allowance
from harness.engine.pool import Judged, JudgeFactory, JudgePool, JudgeTask
from harness.engine.rounds import Observer, Rounds, title
from harness.engine.run_folder import RUN_FILE
from harness.engine.selection import choose_full
from harness.engine.settings import Settings
from harness.engine.state import Entry, RunState, are_twins, judged_body, judged_cost
from harness.locks import exclusive
from harness.objectives.protocol import Objective, Passed
from harness.store import Store
from verify.judge.verdict import Depth
from verify.source.identity import short_id


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


def _nothing(_folder: Path) -> None:
    """Nothing to do once the folder is held."""


def run_design(
    settings: Settings,
    task: Task,
    members: Sequence[Member],
    *,
    objective: Objective,
    out: Path,
    runs: Path,
    judges: JudgeFactory,
    workers: int,
    observe: Observer,
    seconds: float | None = None,
    resumed: Path | None = None,
    held: Callable[[Path], None] = _nothing,
) -> DesignResult:
    """Run, or go on with, the search that `settings` names.

    Admitted candidates go to `<out>/<family>/`, the record to `<runs>/<run id>/run.sqlite`, or to the folder
    `resumed`. `seconds` limits the work on this run, earlier processes' included. `held` is given the run's
    folder once no other process can use it. Raises HarnessError where a folder is in use or cannot be
    written, where the record is of other settings, or where a candidate could not be judged; what was
    finished is kept.
    """
    folder = resumed or runs / settings.run_id
    with exclusive(folder), exclusive(out), Store(folder / RUN_FILE) as store:
        store.begin(settings.to_json())
        held(folder)
        remove_unfinished(out)
        with JudgePool(judges, workers=workers) as pool:
            run = _Run(settings, task, members, objective, store, pool, out, observe)
            return run.finish(settings.allowance(seconds))


class _Run:
    """One run under way; every step skips what the store already holds."""

    def __init__(
        self,
        settings: Settings,
        task: Task,
        members: Sequence[Member],
        objective: Objective,
        store: Store,
        pool: JudgePool,
        out: Path,
        observe: Observer,
    ) -> None:
        self._settings = settings
        self._members = tuple(members)
        self._objective = objective
        self._store = store
        self._pool = pool
        self._out = out
        self._observe = observe
        self._folders: dict[int, Path] = {}
        self._twins: dict[int, Path] = {}
        self._state = RunState.replay(store)
        self._rounds = Rounds(settings, task, store, self._state, observe)

    def finish(self, allowance: Allowance) -> DesignResult:
        if self._state.entries:
            self._observe(
                self._state,
                f"going on with {self._settings.run_id}: {len(self._state.entries)} proposals found",
            )
        stopped = self._run_rounds(allowance)
        return DesignResult(
            settings=self._settings,
            state=self._state,
            run_file=self._store.path,
            folders=self._folders,
            twins=self._twins,
            stopped=stopped,
        )

    def _run_rounds(self, allowance: Allowance) -> str:
        """Rounds until something ends them; says what."""
        number, start = 0, 0
        while True:
            if number not in self._state.begun:
                ended = self._begin(number, start, allowance)
                if ended:
                    return ended
            members = [one for one in self._members if one.name in self._state.begun[number]]
            stop = min(start + self._settings.width, self._settings.budget)
            self._rounds.propose(members, start, stop, then=self._begin_to_judge)
            self._judge((entry for entry in self._state.entries[start:stop] if entry.for_the_judge), "quick")
            if self._settings.depth == "full":
                self._judge(self._select(number), "full")
                self._write(number)
            self._score(number, stop)
            if self._state.admitted_by(number) >= self._settings.admit:
                reached = f"{stop} of {self._settings.budget} proposals"
                return f"the limit of {self._settings.admit} admitted was reached after {reached}"
            number, start = number + 1, stop

    def _begin(self, number: int, start: int, allowance: Allowance) -> str:
        """Record who takes part in a round, or say what the run has used up.

        A round is finished once it was begun, by those who took part in it, whatever a later process finds
        that was spent by then.
        """
        entries = self._state.entries[:start]
        members = with_allowance(self._members, entries)
        ended = allowance.reached(Spent.by(entries))
        if ended is None and not members:
            ended = "the budget of every agent is used up"
        if ended is not None:
            return ended
        body = {"round": number, "members": [member.name for member in members]}
        self._state.apply(self._store.append("begun", body), self._store)
        return ""

    def _judge(self, entries: Iterable[Entry], depth: Depth) -> None:
        """Judge those that have no verdict, and record the answers in proposal order, whichever came first:
        two runs have the same events then. Where one cannot be had, the others are recorded all the same.
        """
        missing = [entry for entry in entries if (entry.full if depth == "full" else entry.quick) is None]
        waiting = [entry.position for entry in missing]
        early: dict[int, Judged] = {}
        try:
            for task, judged in self._pool.judge([_task(entry, depth) for entry in missing]):
                early[task.position] = judged
                while waiting and waiting[0] in early:
                    position = waiting.pop(0)
                    self._record(position, early.pop(position), depth)
        finally:
            for position in sorted(early):
                self._record(position, early[position], depth)

    def _begin_to_judge(self, entry: Entry) -> None:
        """Judge while the next proposal is written; what comes of it is recorded in its turn."""
        if entry.for_the_judge:
            self._pool.begin(_task(entry, "quick"))

    def _record(self, position: int, judged: Judged, depth: Depth) -> None:
        event = self._store.append("judged", judged_body(position, judged), judged_cost(judged))
        self._state.apply(event, self._store)
        entry = self._state.entries[position]
        self._observe(self._state, f"{depth} {title(entry)}: {entry.status}{_first_rule(entry)}")

    def _select(self, number: int) -> list[Entry]:
        """The round's candidates for the full depth, recorded before any of them is judged."""
        if number not in self._state.selected:
            room = self._settings.admit - self._state.admitted_by(number)
            positions = choose_full(self._state, max(0, min(self._settings.full_per_round, room)))
            event = self._store.append("selected", {"round": number, "positions": list(positions)})
            self._state.apply(event, self._store)
        return [self._state.entries[position] for position in self._state.selected[number]]

    def _score(self, number: int, stop: int) -> None:
        """Give every admitted candidate its score, once; at depth quick every one that passed that.

        Those of later rounds, which a run that goes on may know already, wait for their round, as they did
        when nothing was interrupted.
        """
        full = self._settings.depth == "full"
        clean = [entry for entry in self._state.with_status("clean") if entry.position < stop]
        for entry in self._state.admitted_entries(number) if full else clean:
            if entry.scored:
                continue
            position = entry.position
            folder = self._folders.get(position) or self._twins.get(position)
            passed = Passed(source=entry.proposal.source, measured=entry.measured, folder=folder)
            score = self._objective.score(passed)
            event = self._store.append("scored", {"position": position, "score": score})
            self._state.apply(event, self._store)
            said = "none" if score is None else f"{score:g}"
            self._observe(self._state, f"{self._objective.name} of {title(entry)}: {said}")

    def _write(self, number: int) -> None:
        """Put every admitted candidate in its folder, unless an earlier run's there computes the same."""
        for entry in self._state.admitted_entries(number):
            if entry.position in self._folders or entry.position in self._twins:
                continue
            assert entry.full is not None
            name = f"{entry.proposal.slug}-{short_id(entry.full.source_hash)}"
            family = entry.proposal.skeleton.split("/", 1)[0]
            present = written_verdicts(self._out, family)
            twin = next((folder for verdict, folder in present if are_twins(verdict, entry.full)), None)
            if twin is not None and twin.name != name:
                self._twins[entry.position] = twin
                self._observe(self._state, f"not written {title(entry)}: computes the same as {twin}")
                continue
            self._folders[entry.position] = write_candidate(
                self._out,
                family=family,
                name=name,
                source=entry.proposal.source.encode(),
                verdict=entry.full.to_bytes(),
                measured=entry.measured,
            )
            self._observe(self._state, f"admitted {title(entry)}: {self._folders[entry.position]}")


def _task(entry: Entry, depth: Depth) -> JudgeTask:
    path = f"{entry.proposal.slug}.py"
    return JudgeTask(position=entry.position, path=path, source=entry.proposal.source.encode(), depth=depth)


def _first_rule(entry: Entry) -> str:
    if entry.same_as is not None:
        return f" of #{entry.same_as + 1}"
    if entry.behaves_like is not None:
        return f": computes the same as #{entry.behaves_like + 1}"
    return f" by {entry.findings[0].rule}" if entry.status == "rejected" and entry.findings else ""
