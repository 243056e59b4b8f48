from __future__ import annotations

import pytest

from harness.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain words", "plain words"),
        ("façade → 漢字 é 🙂", "façade → 漢字 é 🙂"),
        ("two\r\nlines\u2028or\x85four", "two lines or four"),
        ("  much \t white\xa0space\n", "much white space"),
        ("\x1b[2J\x1b]0;title\x07red\x9b31m\x7f", "[2J ]0;title red 31m"),
        ("a\u202eb\u2066c\u2069d\u200ee\u200ff\u061cg", "a b c d e f g"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
    ],
)
def test_text_becomes_one_line_that_a_terminal_shows_and_utf8_carries(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_no_character_at_all_survives_that_could_steer_a_terminal() -> None:
    everything = printable("".join(map(chr, range(0x110000))))
    assert everything.isprintable()
    assert everything.encode().decode() == everything
