"""An honest role for the tests: echoes, and answers with as many bytes as asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verify.sandbox.wire import Refusal


class Handler:
    def __init__(self, source: bytes) -> None:
        self._source = source

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[memoryview]
    ) -> tuple[Mapping[str, Any], Sequence[bytes | memoryview]]:
        if method == "echo":
            return header, blobs
        if method == "source":
            return {}, [self._source]
        if method == "blob":
            return {}, [bytes(header["n"])]
        if method == "refuse":
            raise Refusal(header["rule"], header["message"], header["line"])
        raise ValueError(f"unknown method {method}")


def open(source: bytes) -> Handler:
    if source == b"refuse to open":
        raise Refusal("CON-TEST", "expected an acceptable source, got this one", 7)
    return Handler(source)
