"""The proposals of a round: whose turn it is, what each grows from, and what its agent makes of that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from harness.agents.identity import identity
from harness.agents.protocol import Ask, Cancellable, Evidence, RoundAgent, Task
from harness.engine.members import Member, deal
from harness.engine.settings import Settings
from harness.engine.state import Entry, RunState, proposed_body
from harness.policies.protocol import Choice
from harness.store import Store

Observer = Callable[[RunState, str], None]
"""Told of every change: the state, and a line that says what changed."""


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """One position of a round: who proposes, and from what."""

    position: int
    member: Member
    choice: Choice


class Rounds:
    """Fills rounds with proposals, each recorded as soon as it is there."""

    def __init__(
        self, settings: Settings, task: Task, store: Store, state: RunState, observe: Observer
    ) -> None:
        self._settings = settings
        self._task = task
        self._store = store
        self._state = state
        self._observe = observe

    def propose(
        self, members: Sequence[Member], start: int, stop: int, *, then: Callable[[Entry], None]
    ) -> None:
        """Have the proposals from `start` to `stop`, but for those that are recorded already; each is handed
        to `then` once it is recorded.
        """
        turns = [
            turn for turn in self._turns(members, start, stop) if turn.position >= len(self._state.entries)
        ]
        self._prepare(turns, start)
        for turn in turns:
            ask = self._ask(turn, start)
            proposal = turn.member.agent.propose(self._task, ask.parent, ask.evidence)
            name = identity(turn.position, proposal)
            body = proposed_body(turn.position, name, proposal, turn.member.name)
            said = (text.encode() for _, text in proposal.conversation)
            event = self._store.append_with_source("proposed", body, proposal.source.encode(), said)
            self._state.apply(event, self._store)
            entry = self._state.entries[turn.position]
            self._observe(self._state, f"proposed {title(entry)}")
            then(entry)

    def _turns(self, members: Sequence[Member], start: int, stop: int) -> list[_Turn]:
        """The whole round, as it was dealt when it began."""
        made = Counter(entry.member for entry in self._state.entries[:start])
        dealt = deal(members, made, stop - start)
        turns = []
        for member in members:
            positions = [start + place for place, one in enumerate(dealt) if one is member]
            outcomes = self._state.outcomes(start, member.name)
            choices = member.policy.choose(outcomes, positions, seed=self._settings.seed)
            turns += [
                _Turn(position=position, member=member, choice=choice)
                for position, choice in zip(positions, choices, strict=True)
            ]
        return sorted(turns, key=lambda turn: turn.position)

    def _prepare(self, turns: Sequence[_Turn], start: int) -> None:
        """Let agents that would rather work on a whole round do so, all at the same time.

        Whoever interrupts that does not wait for answers that are on their way.
        """
        asks: dict[str, tuple[RoundAgent, list[Ask]]] = {}
        for turn in turns:
            if isinstance(turn.member.agent, RoundAgent):
                _, listed = asks.setdefault(turn.member.name, (turn.member.agent, []))
                listed.append(self._ask(turn, start))
        if not asks:
            return
        with ThreadPoolExecutor(max_workers=len(asks)) as threads:
            try:
                prepared = [
                    threads.submit(agent.prepare, self._task, listed) for agent, listed in asks.values()
                ]
                wait(prepared)
            except BaseException:
                for agent, _ in asks.values():
                    if isinstance(agent, Cancellable):
                        agent.cancel()
                raise
        for one in prepared:
            one.result()

    def _ask(self, turn: _Turn, start: int) -> Ask:
        choice = turn.choice
        known = self._state.known_texts() | {skeleton.fingerprint for skeleton in self._task.skeletons}
        outcomes = self._state.outcomes(start, turn.member.name) if choice.feedback else ()
        evidence = Evidence(
            position=turn.position,
            outcomes=outcomes,
            known=known,
            operator=choice.operator,
            mates=choice.mates,
        )
        return Ask(parent=choice.parent, evidence=evidence)


def title(entry: Entry) -> str:
    """A proposal in a line of progress."""
    problem = f": unusable, {entry.proposal.problem}" if entry.proposal.problem else ""
    return f"#{entry.position + 1} {entry.proposal.slug} ({entry.proposal.operator}){problem}"
