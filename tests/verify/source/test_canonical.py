from __future__ import annotations

import ast
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verify.source.mechanisms import HONEST, ROOT, SKELETON, check
from verify.source import canonical
from verify.source.canonical import format_source

WELL_KEPT = [*(ROOT / "templates").glob("*/v*/*.py"), *(ROOT / "tests" / "honest").glob("*.py")]
KEPT = [
    "x = K**-0.5\n",
    "def f(a, *rest, b=1, **more):\n    pass\n",
    "def f(a, /, b, *, c):\n    pass\n",
    "x = {1, 2,}\n",
    "x = (\n    1\n    + 2\n)\n",
    "call(\n    a, b,\n    c=1,\n)\n",
    "x = a[:, None, ...]\n",
    "x = {\n    'a\"b': 1,\n}\n",
    "x = a if b else c  # why\n",
    '"""Doc.\n\n    indented formula   \n"""\n\nimport math\n',
    "x = (i_bh * chunks + i_c) * K*V\n",
    "",
]
NORMALISED = [
    ("x=1\n", "x = 1\n"),
    ("x  =  a+ b\n", "x = a + b\n"),
    ("f( a ,b = 1 )\n", "f(a, b=1)\n"),
    ("x = (1 ,)\n", "x = (1,)\n"),
    ("x = [ a,b ]\n", "x = [a, b]\n"),
    ("a , b = f (x) [ 0,1 ]\n", "a, b = f(x)[0, 1]\n"),
    ("a, = b\n", "a, = b\n"),
    ("def f(a,b,*,c,d,):\n    pass\n", "def f(a, b, *, c, d,):\n    pass\n"),
    ("x = 'a'\n", 'x = "a"\n'),
    ("x = 1   \n\n\n\n", "x = 1\n"),
    ("a = 1; b = 2;\n", "a = 1\nb = 2\n"),
    ("if x: y = 1\n", "if x:\n    y = 1\n"),
    ("if x:\n  y = 1\n", "if x:\n    y = 1\n"),
    ("x = 1 # why\n", "x = 1  # why\n"),
    (
        "def f():\n    return 1\ndef g():\n\n    return 2\n",
        "def f():\n    return 1\n\n\ndef g():\n    return 2\n",
    ),
    ('"""Doc."""\nimport math\n', '"""Doc."""\n\nimport math\n'),
    ("x: int=3\n", "x: int = 3\n"),
    ("def f(a:int=3,b = 2):\n    pass\n", "def f(a: int = 3, b=2):\n    pass\n"),
    ("x = 1\r\ny = 2\r\n", "x = 1\ny = 2\n"),
    ("a<b\n", "a < b\n"),
    ("x+=1\n", "x += 1\n"),
    ('x = {"a" :1, "b":  2}\n', 'x = {"a": 1, "b": 2}\n'),
    ("f(\n    a ,  b,\n)\n", "f(\n    a, b,\n)\n"),
    ("def f():\n    return 1\n   \n\n\nx = 1\n", "def f():\n    return 1\n\n\nx = 1\n"),
    ("def f():\n    return 1\n    # so\n\nx = 1\n", "def f():\n    return 1\n    # so\n\n\nx = 1\n"),
    ("def f():\n    return 1\n# so\nx = 1\n", "def f():\n    return 1\n\n\n# so\nx = 1\n"),
    ("# a\n@ \\\n    triton.jit\ndef f(): pass\n", "# a\n@triton.jit\ndef f():\n    pass\n"),
    ("def f(): pass\n    # so\nx = 1\n", "def f():\n    pass\n\n\n# so\nx = 1\n"),
    ("if x:\n    y()\n        # so\n    z()\n", "if x:\n    y()\n    # so\n    z()\n"),
    ("@ triton.jit\n\ndef f():\n    pass\n", "@triton.jit\ndef f():\n    pass\n"),
]


@pytest.mark.parametrize("path", WELL_KEPT, ids=lambda path: path.stem)
def test_well_kept_code_does_not_change(path) -> None:
    text = path.read_text(encoding="utf-8")
    assert format_source(text) == text


@pytest.mark.parametrize("text", KEPT)
def test_choices_made_on_purpose_stay(text: str) -> None:
    assert format_source(text) == text


@pytest.mark.parametrize(("text", "expected"), NORMALISED)
def test_careless_layout_is_settled(text: str, expected: str) -> None:
    assert format_source(text) == expected


@pytest.mark.parametrize("text", [*KEPT, *(text for text, _ in NORMALISED)])
def test_formatting_twice_is_formatting_once(text: str) -> None:
    assert format_source(format_source(text)) == format_source(text)


def roughened(seed: int) -> str:
    """The honest mechanism with careless layout at random places; the tree stays the same."""
    draw = random.Random(seed)
    lines = []
    for original in HONEST.split("\n"):
        rough = original
        if draw.random() < 0.2 and " = " in rough and '"' not in rough:
            rough = rough.replace(" = ", draw.choice(["=", "  = ", " =  "]), 1)
        if draw.random() < 0.2 and rough.endswith(",") and '"""' not in rough:
            rough = rough[:-1] + " ,"
        if draw.random() < 0.2 and rough.strip() and '"""' not in rough:
            rough += draw.choice(["   ", "  # note", " # note "])
        lines.append(rough)
        if draw.random() < 0.1 and '"""' not in "".join(lines[-3:]):
            lines += [""] * draw.randint(1, 3)
    return "\n".join(lines)


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_any_layout_of_a_mechanism_has_one_canonical_form_with_the_same_tree(seed: int) -> None:
    text = roughened(seed)
    formatted = format_source(text)
    assert format_source(formatted) == formatted
    assert ast.dump(ast.parse(formatted)) == ast.dump(ast.parse(text))


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_a_function_has_one_form_wherever_it_stands(seed: int) -> None:
    text = roughened(seed)
    assert canonical._settled(text) == canonical._whole(text)


@pytest.mark.parametrize(
    "text", ["def f(:\n", "x = " + "-" * 5_000 + "1\n", "x = " + "-" * 100_000 + "1\n", "x = \0\n"]
)
def test_text_that_is_not_python_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        format_source(text)


@pytest.mark.parametrize(
    "text",
    ["\n" * 3_994 + "def f():\n    pass\n", "def f():\n    pass\n\\\n'x'\n", "def f():\n    pass \\\n\n"],
)
def test_what_cannot_be_taken_apart_is_settled_as_a_whole(text: str) -> None:
    def settled(function: Callable[[str], str]) -> str:
        try:
            return function(text)
        except ValueError:
            return "refused"

    assert settled(canonical._settled) == settled(canonical._whole)


def test_a_candidate_must_be_canonical_only_where_that_is_asked_for() -> None:
    careless = HONEST.replace("    B, T, H, V = v.shape\n", "    B, T, H, V  =  v.shape\n")
    assert check(careless).findings == ()
    assert check(careless).canonical is False
    (finding,) = check(careless, require_canonical=True).findings
    assert (finding.rule, finding.line) == (
        "LCK-NOT-CANONICAL",
        careless[: careless.index("V  =")].count("\n") + 1,
    )
    assert check(SKELETON, require_canonical=True).canonical is True


def test_layout_does_not_change_the_identity() -> None:
    careless, kept = check(HONEST.replace("V = v.shape", "V  =  v.shape")).mechanism, check(HONEST).mechanism
    assert careless is not None
    assert kept is not None
    assert careless.source_hash == kept.source_hash
