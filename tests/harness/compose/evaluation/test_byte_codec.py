from __future__ import annotations

import pytest

from harness.compose.evaluation.byte_codec import START, VOCAB, decode, encode


@pytest.mark.parametrize("text", ["", "plain", "naïve → 漢字 🙂", "a\x00b\r\n"])
def test_text_comes_back(text: str) -> None:
    assert decode(encode(text)) == text


def test_ids_are_bytes_below_start_and_the_vocabulary() -> None:
    ids = encode("\x00\x7f\xff🙂")
    assert bytes(ids) == "\x00\x7f\xff🙂".encode()
    assert max(ids) < START < VOCAB


def test_a_lone_surrogate_has_ids_too() -> None:
    assert encode("\ud800") == [0xED, 0xA0, 0x80]


def test_start_is_no_text_and_broken_utf8_is_marked() -> None:
    assert decode([START, 0x41, 0xC3]) == "A\ufffd"
