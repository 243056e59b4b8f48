"""The frame format between the judge and a worker, and the checks a frame must pass before it is believed.

A frame is a fixed prefix, the lengths of the blobs, a JSON header and the blobs:

    magic "AIRA" | kind u8 | version u8 | zero u16 | nonce 16 bytes | header length u32 | blob count u32
    blob length u64, once per blob
    header: UTF-8 JSON, an object, sorted keys, finite numbers, no key twice
    blobs: raw bytes, back to back

The peer is hostile. Lengths are checked against a budget before anything is allocated, and every way to be
wrong is a `FrameError`. The nonce of a request comes back in its reply, so a frame written early is not taken
for an answer. A worker can always send a well-formed lie; a reply is data, and whoever asked has to check
what it says.
"""

from __future__ import annotations

import json
import math
import os
import re
import select
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

MAGIC = b"AIRA"
VERSION = 1
NONCE_BYTES = 16
PREFIX = struct.Struct("<4sBBH16sII")

OPEN, REQUEST, REPLY, REFUSAL, FAILURE = 1, 2, 3, 4, 5

MAX_HEADER_BYTES = 64 << 20
MAX_BLOBS = 1 << 16
_MAX_PARTS = 1024  # writev takes no more buffers at once

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Refusal(Exception):
    """A role's own "no": what it asks of the candidate does not hold. Travels to the judge as data."""

    def __init__(self, rule: str, message: str, line: int | None = None) -> None:
        super().__init__(rule, message, line)
        self.rule = rule
        self.message = message
        self.line = line

    def __str__(self) -> str:
        return f"{self.rule} {self.message}" + (f" (line {self.line})" if self.line is not None else "")


class FrameError(Exception):
    """The bytes received are no frame ("malformed"), or one larger than allowed ("oversized")."""

    def __init__(self, kind: Literal["malformed", "oversized"], detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class Closed(Exception):
    """The peer is gone; `partial` says that it left in the middle of a frame."""

    def __init__(self, *, partial: bool) -> None:
        super().__init__("the peer closed the connection" + (" in the middle of a frame" if partial else ""))
        self.partial = partial


class TimedOut(Exception):
    """The deadline passed before the transfer was complete."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One parsed frame. `header` is plain JSON data; each blob is a buffer of its own."""

    kind: int
    nonce: bytes
    header: dict[str, Any]
    blobs: list[bytearray]


def byte_view(blob: bytes | bytearray | memoryview) -> memoryview:
    """A flat view of a C-contiguous buffer, without a copy (an empty one has no shape to cast)."""
    view = memoryview(blob)
    return view.cast("B") if view.nbytes else memoryview(b"")


def encode(
    kind: int, nonce: bytes, header: Mapping[str, Any], blobs: Sequence[bytes | bytearray | memoryview] = ()
) -> list[memoryview]:
    """The parts of a frame, ready for `Channel.send`. Blobs are not copied.

    Raises ValueError if the header holds NaN or infinity, TypeError if it holds anything that JSON cannot.
    """
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    views = [byte_view(blob) for blob in blobs]
    if len(text) > MAX_HEADER_BYTES or len(views) > MAX_BLOBS:
        raise ValueError(
            f"expected a header of at most {MAX_HEADER_BYTES} bytes and at most {MAX_BLOBS} blobs, "
            f"got {len(text)} bytes and {len(views)} blobs. Move arrays into fewer blobs."
        )
    prefix = PREFIX.pack(MAGIC, kind, VERSION, 0, nonce, len(text), len(views))
    lengths = struct.pack(f"<{len(views)}Q", *(view.nbytes for view in views))
    return [memoryview(prefix + lengths + text), *(view for view in views if view.nbytes)]


def decode(fill: Callable[[memoryview], None], *, max_bytes: int) -> Frame:
    """Read one frame through `fill`, which fills a view completely or raises.

    `max_bytes` bounds header and blobs together. Raises FrameError, and whatever `fill` raises.
    """
    prefix = bytearray(PREFIX.size)
    fill(memoryview(prefix))
    magic, kind, version, zero, nonce, header_bytes, count = PREFIX.unpack(prefix)
    if magic != MAGIC or version != VERSION or zero != 0 or not OPEN <= kind <= FAILURE:
        raise FrameError("malformed", f"expected a frame prefix, got {bytes(prefix)!r}")
    if header_bytes > min(MAX_HEADER_BYTES, max_bytes):
        raise FrameError(
            "oversized",
            f"expected a header of at most {min(MAX_HEADER_BYTES, max_bytes)} bytes, got {header_bytes}",
        )
    if count > MAX_BLOBS:
        raise FrameError("oversized", f"expected at most {MAX_BLOBS} blobs, got {count}")
    lengths_raw = bytearray(8 * count)
    fill(memoryview(lengths_raw))
    lengths = struct.unpack(f"<{count}Q", lengths_raw)
    if header_bytes + sum(lengths) > max_bytes:
        raise FrameError(
            "oversized", f"expected a frame of at most {max_bytes} bytes, got {header_bytes + sum(lengths)}"
        )
    text = bytearray(header_bytes)
    fill(memoryview(text))
    header = parse_header(bytes(text))
    blobs = [bytearray(length) for length in lengths]
    for blob in blobs:
        fill(memoryview(blob))
    return Frame(kind=kind, nonce=nonce, header=header, blobs=blobs)


def parse_header(text: bytes) -> dict[str, Any]:
    """A JSON object from untrusted bytes: finite numbers, no key twice, nothing that cannot be printed as
    UTF-8.
    """
    try:
        header = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_without_repeats,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        if _SURROGATE.search(text):
            json.dumps(header, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        raise FrameError("malformed", f"expected a JSON header, got an error: {reason}") from None
    if not isinstance(header, dict):
        raise FrameError("malformed", f"expected a JSON object as header, got {type(header).__name__}")
    return header


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key appears twice")
    return members


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:30]} is not a finite number")
    return value


class Channel:
    """Whole transfers over one stream descriptor, with an optional deadline (seconds of `time.monotonic`).

    It uses only read, write and poll, so that a worker needs no socket system call at all.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()

    def receive(self, *, max_bytes: int, deadline: float | None = None) -> Frame:
        """The next frame. Raises FrameError, Closed or TimedOut."""
        started = False

        def fill(view: memoryview) -> None:
            nonlocal started
            while view:
                count = self._attempt(os.readv, [view], deadline)
                if count == 0:
                    raise Closed(partial=started)
                started = True
                view = view[count:]

        return decode(fill, max_bytes=max_bytes)

    def send(self, parts: Iterable[memoryview], *, deadline: float | None = None) -> None:
        """Write every part. Raises Closed or TimedOut."""
        rest = list(parts)
        while rest:
            count = self._attempt(os.writev, rest[:_MAX_PARTS], deadline)
            done = 0
            while done < len(rest) and count >= rest[done].nbytes:
                count -= rest[done].nbytes
                done += 1
            rest = rest[done:]
            if count:
                rest[0] = rest[0][count:]

    def wait_readable(self, deadline: float) -> None:
        """Return when a read would not block, end of file included. Raises TimedOut."""
        self._wait(select.POLLIN, deadline)

    def _attempt(
        self,
        transfer: Callable[[int, Sequence[memoryview]], int],
        parts: Sequence[memoryview],
        deadline: float | None,
    ) -> int:
        while True:
            if deadline is not None and time.monotonic() > deadline:
                raise TimedOut  # a peer that trickles never lets a read block
            try:
                return transfer(self._descriptor, parts)
            except BlockingIOError:
                self._wait(select.POLLIN if transfer is os.readv else select.POLLOUT, deadline)
            except (BrokenPipeError, ConnectionResetError):
                raise Closed(partial=True) from None

    def _wait(self, event: int, deadline: float | None) -> None:
        self._poll.register(self._descriptor, event)
        left = None if deadline is None else max(0, math.ceil(1000 * (deadline - time.monotonic())))
        if not self._poll.poll(left):
            raise TimedOut
