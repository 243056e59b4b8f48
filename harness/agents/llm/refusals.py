"""Reads what a server says where it declines a request, whatever shape it says it in, and whose trouble that
is: one proposal's, or the run's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

Trouble = Literal["prompt", "filter", "limit", "other"]
"""A prompt too long for the model; a filter that declined the prompt; more tokens asked for than the server
gives to any answer; anything else.
"""

_WORDED = frozenset({200, 400, 413, 422})
"""Where words may tell: gateways send errors with status 200, and a server that is busy or does not know the
key means something else by the same words.
"""
_PROMPT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_PROMPT = re.compile(r"context (?:length|size|window)", re.IGNORECASE)
_LIMIT_NAME = re.compile(r"max_(?:completion_)?tokens")
_TOO_MUCH = re.compile(
    r"too (?:large|high|big)|at most|less than or equal|maximum (?:value|allowed)|range of|<=|> ?[0-9]",
    re.IGNORECASE,
)
_READ = 2000
"""Characters of a message that are looked at: some servers send the whole request back."""
_DEPTH = 6


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What was said, as it came, and what it means. `said` is the body where no message is found in it."""

    said: str
    trouble: Trouble


def read_refusal(status: int, text: str) -> Refusal:
    """What the body of a response says that is no answer."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    said = _message(body, _DEPTH) or text.strip()
    return Refusal(said=said, trouble=_trouble(_codes(body), said[:_READ] if status in _WORDED else ""))


def _trouble(codes: set[str], words: str) -> Trouble:
    if codes & _PROMPT_CODES:
        return "prompt"
    if "content_filter" in codes:
        return "filter"
    if _LIMIT_NAME.search(words) and _TOO_MUCH.search(words):
        return "limit"
    return "prompt" if _PROMPT.search(words) else "other"


def _codes(body: Any) -> set[str]:
    """The code and the type of an error, wherever they stand."""
    if not isinstance(body, dict):
        return set()
    places = [place for place in (body, body.get("error")) if isinstance(place, dict)]
    return {place[name] for place in places for name in ("code", "type") if isinstance(place.get(name), str)}


def _message(value: Any, depth: int) -> str:
    """The first text under the names that servers give to a message; "" where there is none."""
    if isinstance(value, str):
        return value.strip()
    if depth and isinstance(value, list):
        return "; ".join(filter(None, (_message(one, depth - 1) for one in value[:10])))
    if depth and isinstance(value, dict):
        names = ("error", "message", "detail", "msg")
        said = next(filter(None, (_message(value.get(name), depth - 1) for name in names)), "")
        place = value.get("loc")
        return f"{'.'.join(map(str, place))}: {said}" if said and isinstance(place, list) else said
    return ""
