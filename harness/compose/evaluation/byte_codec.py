"""Text as token ids: its UTF-8 bytes, and one id that stands before every document."""

from __future__ import annotations

START = 256
VOCAB = 257


def encode(text: str) -> list[int]:
    """Ids of the text, without START. Lone surrogates, which have no UTF-8, keep their three bytes."""
    return list(text.encode("utf-8", "surrogatepass"))


def decode(ids: list[int]) -> str:
    """The text of ids; START is dropped, and what is no UTF-8 becomes U+FFFD."""
    return bytes(token for token in ids if token != START).decode("utf-8", "replace")
