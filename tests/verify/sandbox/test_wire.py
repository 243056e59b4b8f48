from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.sandbox import wire

NONCE = bytes(range(16))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def filler(data: bytes) -> Callable[[memoryview], None]:
    rest = memoryview(data)

    def fill(view: memoryview) -> None:
        nonlocal rest
        if len(rest) < len(view):
            raise EOFError
        view[:] = rest[: len(view)]
        rest = rest[len(view) :]

    return fill


def parse(data: bytes, max_bytes: int = 1 << 20) -> wire.Frame:
    return wire.decode(filler(data), max_bytes=max_bytes)


def frame(
    header: bytes = b"{}", lengths: tuple[int, ...] = (), body: bytes = b"", **changed: int | bytes
) -> bytes:
    fields = {
        "magic": wire.MAGIC,
        "kind": wire.REPLY,
        "version": wire.VERSION,
        "zero": 0,
        "nonce": NONCE,
        "header": len(header),
        "count": len(lengths),
        **changed,
    }
    return wire.PREFIX.pack(*fields.values()) + struct.pack(f"<{len(lengths)}Q", *lengths) + header + body


@given(
    header=st.dictionaries(st.text(), JSON, max_size=4), blobs=st.lists(st.binary(max_size=100), max_size=5)
)
def test_what_is_encoded_is_decoded(header: dict[str, object], blobs: list[bytes]) -> None:
    try:
        data = b"".join(wire.encode(wire.REPLY, NONCE, header, blobs))
        repr(header).encode()
    except UnicodeEncodeError:  # a lone surrogate: refused on arrival, tested below
        return
    decoded = parse(data)
    assert (decoded.kind, decoded.nonce, decoded.header) == (wire.REPLY, NONCE, header)
    assert [bytes(blob) for blob in decoded.blobs] == blobs


@given(st.binary(max_size=200))
def test_noise_is_never_a_frame(data: bytes) -> None:
    with pytest.raises((wire.FrameError, EOFError)):
        parse(data)


@given(position=st.integers(0, 45), value=st.integers(0, 255))
def test_a_changed_byte_is_an_error_or_another_frame(position: int, value: int) -> None:
    data = bytearray(frame(b'{"key":"value"}', (4,), b"blob"))
    data[position % len(data)] = value
    with contextlib.suppress(wire.FrameError, EOFError):
        parse(bytes(data))


def test_equal_headers_have_equal_bytes() -> None:
    one = wire.encode(wire.REPLY, NONCE, {"b": 1, "a": {"d": 2, "c": 3}})
    other = wire.encode(wire.REPLY, NONCE, {"a": {"c": 3, "d": 2}, "b": 1})
    assert b"".join(one) == b"".join(other)


@pytest.mark.parametrize(
    "changed",
    [
        {"magic": b"ARIA"},
        {"kind": 0},
        {"kind": 6},
        {"version": 2},
        {"zero": 1},
    ],
    ids=str,
)
def test_a_wrong_prefix_is_malformed(changed: dict[str, int | bytes]) -> None:
    with pytest.raises(wire.FrameError) as error:
        parse(frame(**changed))
    assert error.value.kind == "malformed"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":-1e999}',
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":"\xff"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"a":' + b"9" * 10_000 + b"}",
        b'{"a":"\n"}',
        b"\xef\xbb\xbf{}",
        b'{"a":1}{"a":1}',
    ],
    ids=lambda header: header[:20],
)
def test_a_header_that_is_not_strict_json_is_malformed(header: bytes) -> None:
    with pytest.raises(wire.FrameError) as error:
        parse(frame(header))
    assert error.value.kind == "malformed"


@pytest.mark.parametrize(
    "data",
    [
        frame(header=b"{}", count=0xFFFFFFFF),
        frame(b"{}", ((1 << 64) - 1,)),
        frame(b"{}", ((1 << 20) - 1,)),
        frame(b"{}", (1 << 63, 1 << 63)),
        wire.PREFIX.pack(wire.MAGIC, wire.REPLY, wire.VERSION, 0, NONCE, 0xFFFFFFFF, 0),
    ],
    ids=["count", "length", "sum", "wrapping sum", "header"],
)
def test_lengths_over_the_limit_are_oversized_before_anything_is_read(data: bytes) -> None:
    with pytest.raises(wire.FrameError) as error:
        parse(data)
    assert error.value.kind == "oversized"


def test_a_frame_of_exactly_the_limit_is_accepted() -> None:
    assert len(parse(frame(b"{}", (8,), b"x" * 8), max_bytes=10).blobs[0]) == 8


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_sent(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        wire.encode(wire.REQUEST, NONCE, {"value": value})


def test_blobs_are_sent_without_a_copy() -> None:
    blob = bytearray(1 << 16)
    parts = wire.encode(wire.REQUEST, NONCE, {}, [blob])
    blob[0] = 7
    assert parts[1][0] == 7


def test_a_blob_that_is_not_contiguous_is_refused() -> None:
    with pytest.raises(TypeError):
        wire.encode(wire.REQUEST, NONCE, {}, [memoryview(bytearray(10))[::2]])


def test_a_frame_larger_than_the_socket_buffer_arrives_whole() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        blob = os.urandom(8 << 20)
        parts = wire.encode(wire.REPLY, NONCE, {}, [blob])
        sender = threading.Thread(target=wire.Channel(theirs.fileno()).send, args=(parts,))
        sender.start()
        ours.setblocking(False)
        received = wire.Channel(ours.fileno()).receive(max_bytes=1 << 30, deadline=time.monotonic() + 30)
        sender.join()
    assert received.blobs == [blob]


def test_silence_until_the_deadline_is_a_time_out() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        begun = time.monotonic()
        with pytest.raises(wire.TimedOut):
            wire.Channel(ours.fileno()).receive(max_bytes=100, deadline=begun + 0.05)
    assert 0.05 <= time.monotonic() - begun < 1


def test_a_full_buffer_until_the_deadline_is_a_time_out() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        parts = wire.encode(wire.REQUEST, NONCE, {}, [bytes(64 << 20)])
        with pytest.raises(wire.TimedOut):
            wire.Channel(ours.fileno()).send(parts, deadline=time.monotonic() + 0.05)


@pytest.mark.parametrize(("sent", "partial"), [(b"", False), (b"AIRA", True)])
def test_an_end_says_whether_it_came_in_the_middle(sent: bytes, partial: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.send(sent)
        theirs.close()
        with pytest.raises(wire.Closed) as closed:
            wire.Channel(ours.fileno()).receive(max_bytes=100)
    assert closed.value.partial is partial
