from __future__ import annotations

import pytest

from tests.verify.source.mechanisms import SKELETON, TEMPLATES, changed, check
from verify.source.lock import check_lock, lock_hash, segments, skeleton_paths

NAME = "linear_state/v1/token_decay"
PHI = "    return tl.where(x > 0, x + 1.0, tl.exp(tl.minimum(x, 0.0)))\n"
FIRST_TUNING = '    {"CHUNK": 32, "num_warps": 4, "num_stages": 2},\n'


def found(text: str) -> list[tuple[str, int | None]]:
    return [(finding.rule, finding.line) for finding in check_lock(text, NAME)]


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize("name", skeleton_paths(TEMPLATES))
def test_a_skeleton_passes_its_own_lock(name: str) -> None:
    assert check_lock(skeleton_paths()[name].read_text(encoding="utf-8"), name) == []


def test_slot_bodies_docstring_and_tuning_are_free() -> None:
    text = changed(SKELETON, PHI, "    y = x * tl.sigmoid(x)  # silu\n\n    # and one\n    return y + 1.0\n")
    text = changed(text, FIRST_TUNING, "")
    text = '"""Another mechanism."""' + text[text.index('"""', 3) + 3 :]
    assert found(text) == []
    assert check(text).stages["LCK"] == "pass"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def _load_gates(g_ptr, H, count,", "def _load_gates(g_ptr, H, rows,"),
        ("def _phi(x):", "def _phi(y):"),
        ('"causal": True', '"causal": False'),
        ('"scale": ["_scale"],', '"scale": ["_scale", "forward"],'),
        ("import triton\n", "import triton \n"),
    ],
)
def test_a_locked_change_is_quoted_at_its_line(old: str, new: str) -> None:
    text = changed(SKELETON, old, new)
    (finding,) = check_lock(text, NAME)
    assert finding.rule in ("LCK-CHANGED", "LCK-ADDED", "LCK-MISSING")
    first = next(
        i for i, (a, b) in enumerate(zip(SKELETON.split("\n"), text.split("\n"), strict=False)) if a != b
    )
    assert finding.line == first + 1
    assert repr(text.split("\n")[first])[1:-1] in finding.message
    assert repr(SKELETON.split("\n")[first])[1:-1] in finding.message


def test_every_changed_part_is_reported() -> None:
    text = changed(SKELETON, "def _phi(x):", "def _phi(y):")
    text = changed(text, "def _phi_grad(x):", "def _phi_grad(y):")
    assert found(text) == [
        ("LCK-CHANGED", line_of(text, "def _phi(y)")),
        ("LCK-CHANGED", line_of(text, "def _phi_grad(y)")),
    ]


def test_helpers_cannot_be_added_removed_or_moved() -> None:
    helper = "def _mine(x):\n    return x\n\n\n"
    added = changed(SKELETON, "def _scale(", helper + "def _scale(")
    assert found(added) == [("LCK-ADDED", line_of(added, "def _mine"))]
    start, end = (
        SKELETON.index("@triton.jit\ndef _load_gates"),
        SKELETON.index("@triton.jit\ndef _decay_from_start"),
    )
    part = SKELETON[start:end]
    assert [rule for rule, _ in found(SKELETON.replace(part, ""))] == ["LCK-MISSING"]
    moved = SKELETON.replace(part, "") + "\n\n" + part.rstrip("\n") + "\n"
    assert "LCK-ORDER" in [rule for rule, _ in found(moved)]
    twice = SKELETON + "\n\n" + part.rstrip("\n") + "\n"
    assert [rule for rule, _ in found(twice)] == ["LCK-ADDED"]


def test_a_slots_decorator_is_locked() -> None:
    text = changed(SKELETON, "@triton.jit\ndef _phi(x):", "def _phi(x):")
    assert [rule for rule, _ in found(text)] == ["LCK-CHANGED"]


def test_a_candidate_cannot_free_more_by_naming_more_slots() -> None:
    text = changed(SKELETON, '"scale": ["_scale"],', '"scale": ["_scale", "forward"],')
    assert [rule for rule, _ in found(text)] == ["LCK-CHANGED"]


def test_comments_between_functions_are_locked_and_those_in_slots_are_not() -> None:
    assert found(changed(SKELETON, "@triton.jit\ndef _phi(x):", "# mine\n@triton.jit\ndef _phi(x):"))
    assert found(changed(SKELETON, PHI, "    # mine\n" + PHI)) == []


def test_an_unknown_skeleton_names_the_nearest() -> None:
    (finding,) = check_lock(SKELETON, "linear_state/v1/token_decy")
    assert finding.rule == "LCK-SKELETON"
    assert "Did you mean 'linear_state/v1/token_decay'" in finding.message


def test_the_hash_of_the_locked_parts_depends_on_their_boundaries() -> None:
    one, two = segments("x = 1\ny = 2\n", frozenset()), segments("x = 1\n\ny = 2\n", frozenset())
    assert lock_hash(one) != lock_hash(two)
    assert lock_hash(one) == lock_hash(segments("x = 1\ny = 2\n", frozenset()))


def test_a_template_elsewhere_may_be_used(tmp_path) -> None:
    folder = tmp_path / "family" / "v1"
    folder.mkdir(parents=True)
    (folder / "plain.py").write_text(SKELETON.replace(NAME, "family/v1/plain"))
    assert list(skeleton_paths(tmp_path)) == ["family/v1/plain"]
    assert check_lock(SKELETON.replace(NAME, "family/v1/plain"), "family/v1/plain", tmp_path) == []


def test_a_family_that_carries_state_refuses_none() -> None:
    text = changed(SKELETON, '"state": {"S": "B H K V : normal, float32"},', '"state": {},')
    assert {finding.rule for finding in check(text).findings} == {"CON-STATE", "LCK-CHANGED"}
