from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verify.source.mechanisms import HONEST
from verify.source.parse import MAX_BYTES, MAX_DEPTH, parse, parse_module


def refused(source: bytes | str) -> list[tuple[str, int | None, int | None]]:
    parsed, findings = parse(source.encode() if isinstance(source, str) else source)
    assert (parsed is None) == bool(findings)
    return [(finding.rule, finding.line, finding.column) for finding in findings]


def test_ordinary_text_parses() -> None:
    parsed, findings = parse(HONEST.encode())
    assert findings == []
    assert parsed is not None
    assert parsed.text == HONEST


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"x = 1\n" * (MAX_BYTES // 6 + 1), [("PAR-SIZE", 1, None)]),
        (b"\xef\xbb\xbfx = 1\n", [("PAR-ENCODING", 1, None)]),
        (b"x = 1\ny = 2\x00\n", [("PAR-ENCODING", 2, None)]),
        (b"x = 1\n# \xff\n", [("PAR-ENCODING", 2, None)]),
        (b"# vim: fileencoding=latin-1\n", [("PAR-ENCODING", 1, None)]),
        (b"x = 1\r\n", [("PAR-LINE-ENDING", 1, 6)]),
        (b"if x:\n\ty = 1\n", [("PAR-TAB", 2, 1)]),
        ("x = 1  # \u202e\n", [("PAR-INVISIBLE", 1, 10)]),
        ("x = 1\u00a0\n", [("PAR-INVISIBLE", 1, 6)]),
        ("x = 1\u2028y = 2\n", [("PAR-INVISIBLE", 1, 6)]),
        (b"x = 1\x0c\n", [("PAR-INVISIBLE", 1, 6)]),
        ("\u03c6 = 1\n", [("PAR-IDENTIFIER", 1, 1)]),
        ("\uff4fpen = 1\n", [("PAR-IDENTIFIER", 1, 1)]),
        (b"", [("PAR-SYNTAX", 1, None)]),
        (b"def f(:\n", [("PAR-SYNTAX", 1, 7)]),
        (b"x = " + b"9" * 5000 + b"\n", [("PAR-SYNTAX", 1, None)]),
        (b"x = " + b"9" * 200 + b"\n", [("PAR-SIZE", 1, 5)]),
    ],
)
def test_text_that_reads_differently_is_refused_at_its_position(source, expected) -> None:
    assert refused(source) == expected


def test_letters_beyond_ascii_are_welcome_in_comments_and_docstrings() -> None:
    assert refused('"""φ(k) v^T, naïve"""\nx = 1  # Σ over t\n') == []


@pytest.mark.parametrize(
    "expression",
    [
        "-" * 200 + "1",
        "+".join(["1"] * 200),
        "(" * 150 + "1" + ")" * 150 + "+" + "-" * 100 + "1",
        "a" + ".b" * 200,
        "a" + "[0]" * 200,
        " or ".join(["a"] * 200),
        " ".join(['"a"'] * 200),
        "1 if a else " * 200 + "1",
        "lambda: " * 200 + "1",
        "[" * 180 + "]" * 180,
        "-" * 100_000 + "1",
        "a" + ".b" * 90_000,
    ],
)
def test_deep_nesting_is_refused_before_a_recursive_reader_sees_it(expression: str) -> None:
    assert {rule for rule, _, _ in refused(f"x = {expression}\n")} <= {"PAR-NESTING", "PAR-SYNTAX"}
    assert refused(f"x = {expression}\n")


def test_a_dotted_import_counts_as_nesting() -> None:
    assert refused("import a" + ".a" * 300 + "\n")[0][0] == "PAR-NESTING"


@pytest.mark.parametrize("expression", ["a or " * 60_000 + "a", "a" + ".b" * 60_000, "-" * 60_000 + "1"])
def test_the_concrete_parser_never_sees_what_would_end_the_process(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_module(f"x = {expression}\n")


def test_the_limit_of_nesting_leaves_room_for_real_code() -> None:
    assert refused(f"x = {'-' * (MAX_DEPTH - 5)}1\n") == []


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(source: bytes) -> None:
    parsed, findings = parse(source)
    assert (parsed is None) == bool(findings)


@given(st.text(alphabet="abc=()[]{}:.,+-*/@\n \"'#\\0", max_size=60))
def test_what_parses_here_parses_concretely_or_raises_value_error(text: str) -> None:
    parsed, _ = parse(text.encode())
    if parsed is not None:
        with suppress(ValueError):
            assert parse_module(parsed.text).code == parsed.text
