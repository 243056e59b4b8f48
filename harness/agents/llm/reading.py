"""Reads the body of a chat completion, whatever a server that calls itself compatible has put there."""

from __future__ import annotations

import json
from typing import Any

from harness.agents.llm.protocol import Completion, Usage, short
from harness.printable import encodable

MAX_TEXT = 1_000_000
"""Characters of an answer that are kept; the judge takes files of at most 200,000 bytes."""


_MOST_DIGITS = 400
"""Of a whole number in a body; only counts have any meaning, and they have fewer."""


class NoCompletion(Exception):
    """What came is not from a model: a page of somebody else's, or an error that was sent as a success."""


def read_body(content: bytes) -> Completion:
    """The first choice of a response body. A body whose choices are no answer is a completion that says what
    came instead. Raises NoCompletion for a body that no model had a part in.
    """
    try:
        body = json.loads(content, parse_int=_whole_number)
    except (ValueError, RecursionError):
        raise NoCompletion(f"a body of {len(content)} bytes that is not JSON") from None
    if not isinstance(body, dict):
        raise NoCompletion(f"a JSON {type(body).__name__}")
    usage = _usage(body.get("usage"))
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        if body.get("error"):
            raise NoCompletion("an error with the status of a success")
        return _malformed("a body without choices", usage)
    choice = choices[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return _malformed("a choice without a message", usage)
    return _completion(message, choice.get("finish_reason"), usage)


def _completion(message: dict[str, Any], finish: Any, usage: Usage | None) -> Completion:
    refusal = message.get("refusal")
    text = encodable(_text(message.get("content")))
    if len(text) > MAX_TEXT:
        return Completion(
            text=text[:MAX_TEXT],
            finish="length",
            detail=f"{len(text)} characters, of which {MAX_TEXT} were kept",
            usage=usage,
        )
    if isinstance(refusal, str) and refusal:
        return Completion(text=text, finish="refusal", detail=short(refusal), usage=usage)
    if finish == "content_filter":
        return Completion(text=text, finish="refusal", detail="the server's content filter", usage=usage)
    if finish == "length":
        return Completion(text=text, finish="length", detail="the limit of tokens", usage=usage)
    return Completion(text=text, finish="stop", usage=usage)


def _text(content: Any) -> str:
    """Content as text: a string, or the texts of a list of parts; nothing else has any."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def _usage(value: Any) -> Usage | None:
    """Token counts, None where they make no sense."""
    if not isinstance(value, dict):
        return None
    return Usage.counted(value.get("prompt_tokens"), value.get("completion_tokens"))


def _whole_number(digits: str) -> int | None:
    """A number of JSON. One of more digits than Python reads spoils no answer: it is not there."""
    return int(digits) if len(digits) <= _MOST_DIGITS else None


def _malformed(what: str, usage: Usage | None) -> Completion:
    return Completion(
        text="", finish="malformed", detail=f"expected a chat completion, got {what}", usage=usage
    )
