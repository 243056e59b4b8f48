"""The agent that asks a language model: a round at a time, each proposal a short conversation of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.agents.identity import text_identity
from harness.agents.llm.answers import Submission, Unusable, read_answer
from harness.agents.llm.contract import rules_text
from harness.agents.llm.operators import Plan, plan
from harness.agents.llm.prices import Price
from harness.agents.llm.prompts import digest as prompts_digest
from harness.agents.llm.prompts import prompt
from harness.agents.llm.protocol import Backend, Completion, Message, Request, total
from harness.agents.llm.texts import canonical, descriptions, named_template, slug
from harness.agents.protocol import Ask, Evidence, Outcome, Proposal, Skeleton, Task
from verify.source.lock import DEFAULT_TEMPLATES

MAX_TOKENS = 32_000
"""The longest answer asked for: a whole file is about 6,000 tokens, and some models think first."""

_TRIES = 2
"""Answers per proposal: a second one where the first held no mechanism."""

_QUOTED = 20_000
"""Characters of an unusable answer that are shown to the model again."""


@dataclass(frozen=True, kw_only=True)
class _Conversation:
    """What one proposal came to: the last answer as read, every answer that was given, and all messages."""

    result: Submission | Unusable
    answers: tuple[Completion, ...]
    keys: tuple[str, ...]
    said: tuple[Message, ...]


class LLMAgent:
    """Proposals are functions of the arguments and of the backend's answers, whatever their order in time.

    `prices` is in US dollars; `max_tokens` limits each answer.
    """

    version = 2

    def __init__(
        self, backend: Backend, prices: Mapping[str, Price], *, label: str = "", max_tokens: int = MAX_TOKENS
    ) -> None:
        """`label` is part of the agent's name: what else the answers depend on."""
        self._backend = backend
        self._price = prices.get(backend.model)
        self._max_tokens = max_tokens
        self._label = label
        self._ready: dict[int, Proposal] = {}
        self._lock = threading.Lock()
        self._cancelled = False
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    @property
    def name(self) -> str:
        """E.g. `openai:gpt-5:32000:a81f02cd`: backend, model, limit, and a digest of the texts it is told."""
        parts = (self._backend.name, self._backend.model, str(self._max_tokens), _told_digest(), self._label)
        return ":".join(part for part in parts if part)

    def prepare(self, task: Task, asks: Sequence[Ask]) -> None:
        """Have all conversations of a round at once.

        Raises HarnessError where one of them cannot be had, after the others have ended, and CancelledError
        where `cancel` was called.
        """
        plans = [plan(task, ask) for ask in asks]
        conversations = asyncio.run(self._converse_all(plans))
        for made, conversation in zip(plans, conversations, strict=True):
            self._ready[made.position] = self._proposal(task, made, conversation)

    def cancel(self) -> None:
        """Let go of the requests that are on their way, and make no more."""
        with self._lock:
            self._cancelled = True
            if self._running is not None:
                loop, conversations = self._running
                loop.call_soon_threadsafe(conversations.cancel)

    def propose(self, task: Task, parent: Outcome | None, evidence: Evidence) -> Proposal:
        """The mechanism in the model's answer, or a proposal whose `problem` says why there is none."""
        if evidence.position not in self._ready:
            self.prepare(task, [Ask(parent=parent, evidence=evidence)])
        return self._ready.pop(evidence.position)

    async def _converse_all(self, plans: Sequence[Plan]) -> list[_Conversation]:
        with self._cancellable():
            try:
                results = await asyncio.gather(*map(self._converse, plans), return_exceptions=True)
            finally:
                await self._backend.close()
        finished: list[_Conversation] = []
        for result in results:
            if isinstance(result, BaseException):
                raise result
            finished.append(result)
        return finished

    @contextlib.contextmanager
    def _cancellable(self) -> Iterator[None]:
        """The task that enters this block can be cancelled from another thread until it leaves it."""
        task = asyncio.current_task()
        assert task is not None, "prepare runs a loop"
        with self._lock:
            if self._cancelled:
                raise asyncio.CancelledError
            self._running = (asyncio.get_running_loop(), task)
        try:
            yield
        finally:
            with self._lock:
                self._running = None

    async def _converse(self, made: Plan) -> _Conversation:
        request = Request(model=self._backend.model, messages=made.messages, max_tokens=self._max_tokens)
        answers: list[Completion] = []
        keys: list[str] = []
        while True:
            answer = await self._backend.complete(request)
            answers.append(answer)
            keys.append(request.key)
            result = _read(answer, made)
            if isinstance(result, Submission) or len(answers) == _TRIES:
                said = (*request.messages, Message(role="assistant", text=answer.text))
                return _Conversation(result=result, answers=tuple(answers), keys=tuple(keys), said=said)
            request = request.followed_by(
                Message(role="assistant", text=answer.text[:_QUOTED] or "(nothing)"),
                Message(role="user", text=prompt("repair").substitute(problem=result.problem)),
            )

    def _proposal(self, task: Task, made: Plan, conversation: _Conversation) -> Proposal:
        result = conversation.result
        source = canonical(result.source) if isinstance(result, Submission) else ""
        counted = [answer.usage for answer in conversation.answers if answer.usage is not None]
        usage = total(counted)
        note = {"requests": conversation.keys, "finished": [answer.finish for answer in conversation.answers]}
        return Proposal(
            source=source,
            skeleton=made.template,
            operator=made.operator,
            slug=slug(source, made.template, made.operator),
            slots=descriptions(source, _skeleton(task, made.template)),
            note=json.dumps(note),
            parent=made.parent,
            problem=result.problem if isinstance(result, Unusable) else "",
            conversation=tuple((message.role, message.text) for message in conversation.said),
            answers=len(conversation.answers),
            tokens=usage.read + usage.written,
            uncounted=len(conversation.answers) - len(counted),
            usd=0.0 if self._price is None else self._price.of(usage),
            unpriced=len(conversation.answers) - (0 if self._price is None else len(counted)),
        )


def _told_digest() -> str:
    """Eight characters that change with anything a prompt is made of, but for skeletons and outcomes."""
    notes = [path.read_text(encoding="utf-8") for path in sorted(DEFAULT_TEMPLATES.glob("*/notes.md"))]
    return hashlib.sha256("\0".join([prompts_digest(), rules_text(), *notes]).encode()).hexdigest()[:8]


def _read(answer: Completion, made: Plan) -> Submission | Unusable:
    """The mechanism in an answer, if it is a new one of the template that was asked for."""
    result = read_answer(answer, made.base)
    if isinstance(result, Unusable):
        return result
    named = named_template(result.source)
    if named is not None and named != made.template:
        return Unusable(problem=f"expected SPEC's template to be {made.template!r}, got {named[:200]!r}.")
    if text_identity(result.source) in made.shown:
        return Unusable(problem="expected a new mechanism, got one that was shown, unchanged but for names.")
    return result


def _skeleton(task: Task, template: str) -> Skeleton | None:
    return next((skeleton for skeleton in task.skeletons if skeleton.name == template), None)
