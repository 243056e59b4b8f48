"""What a language model is asked and what it answers, whoever serves it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from harness.errors import WrongUsage
from harness.printable import encodable, printable

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "refusal", "malformed"]
"""Why an answer ends: complete; cut off at the limit; the model or its filter declined; not an answer at
all.
"""

_FINISHES = frozenset(get_args(Finish))
_MOST_TOKENS = 2**53
"""A larger count is no count: it is more than a float holds, and more than any model has read."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    text: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """A conversation that wants its next turn, of at most `max_tokens` tokens."""

    model: str
    messages: tuple[Message, ...]
    max_tokens: int

    @property
    def key(self) -> str:
        """SHA-256 (hex) of everything that is asked: what recorded answers are looked up by."""
        asked = {
            "model": self.model,
            "messages": [[message.role, message.text] for message in self.messages],
            "max_tokens": self.max_tokens,
        }
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def followed_by(self, *messages: Message) -> Request:
        """The same conversation some turns later."""
        return Request(model=self.model, messages=(*self.messages, *messages), max_tokens=self.max_tokens)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens that the server says it read and wrote for one answer."""

    read: int
    written: int

    @classmethod
    def counted(cls, read: Any, written: Any) -> Usage | None:
        """What a server counted, None unless both are whole numbers that a count may be."""
        for count in (read, written):
            if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _MOST_TOKENS:
                return None
        return cls(read=read, written=written)

    def __add__(self, other: Usage) -> Usage:
        return Usage(read=self.read + other.read, written=self.written + other.written)


@dataclass(frozen=True, kw_only=True)
class Completion:
    """An answer. `detail` says what was wrong where `finish` is not "stop"; `usage` is None where the server
    does not count.
    """

    text: str
    finish: Finish
    detail: str = ""
    usage: Usage | None = None

    def to_json(self) -> dict[str, Any]:
        usage = None if self.usage is None else {"read": self.usage.read, "written": self.usage.written}
        return {"text": self.text, "finish": self.finish, "detail": self.detail, "usage": usage}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Completion:
        """The inverse of `to_json`. Raises ValueError, KeyError or TypeError for anything else."""
        usage = fields["usage"]
        counts = () if usage is None else (usage["read"], usage["written"])
        if not all(isinstance(count, int) for count in counts):
            raise ValueError(f"expected whole numbers of tokens, got {counts}")
        if fields["finish"] not in _FINISHES:
            raise ValueError(f"expected finish to be one of {sorted(_FINISHES)}, got {fields['finish']!r}")
        return cls(
            text=encodable(str(fields["text"])),
            finish=fields["finish"],
            detail=short(str(fields["detail"])),
            usage=Usage.counted(*counts) if counts else None,
        )


class Backend(Protocol):
    """Serves one model. Calls may overlap; all of them run in one event loop, which `close` ends the use
    of.
    """

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    async def complete(self, request: Request) -> Completion:
        """The answer, whatever it is worth. Raises HarnessError where none could be had."""
        ...

    async def close(self) -> None:
        """Let go of connections; a later call opens them again."""
        ...


def short(text: str, most: int = 500) -> str:
    """The beginning of a text as one line that a terminal takes for text."""
    return printable(text[: 2 * most])[:most]


def check_model(model: str) -> None:
    """Raises WrongUsage for a model's name that neither a record nor a terminal could take."""
    if not model.isprintable() or not model.strip():
        raise WrongUsage(f"--model: expected a name in letters that can be printed, got {model!r}")


def total(usages: Iterable[Usage | None]) -> Usage:
    """The sum of those that are known."""
    return sum((usage for usage in usages if usage is not None), Usage(read=0, written=0))
