from __future__ import annotations

import ast
import time

import pytest

from tests.verify.source.mechanisms import HONEST, SKELETON, changed, check, in_forward
from verify.source.lock import DEFAULT_TEMPLATES
from verify.source.static import blank_out, check_static, read_released


def test_a_mechanism_says_what_was_read() -> None:
    mechanism = check(SKELETON).mechanism
    assert mechanism is not None
    assert mechanism.source == SKELETON
    assert mechanism.docstring.startswith("Linear attention whose state fades")
    assert mechanism.skeleton == "linear_state/v1/token_decay"
    assert mechanism.has_parallel is True
    assert mechanism.tuning[0]["num_warps"] == 4
    assert "_state_kernel" in mechanism.kernels
    assert "forward" not in mechanism.kernels
    assert SKELETON.split("\n")[mechanism.functions["_phi"] - 1] == "def _phi(x):"


def test_a_free_mechanism_has_no_lock() -> None:
    result = check(HONEST)
    assert result.stages == {"PAR": "pass", "POL": "pass", "LCK": "n/a", "CON": "pass"}
    assert result.mechanism is not None
    assert (result.mechanism.skeleton, result.mechanism.family) == (None, "free")


def test_a_released_mechanism_reads_as_it_was_judged() -> None:
    for path in sorted(DEFAULT_TEMPLATES.glob("*/v*/[a-z]*.py")):
        source = path.read_bytes()
        assert read_released(source) == check_static(source, path=str(path)).mechanism, path


def test_unreadable_text_skips_what_needs_a_tree() -> None:
    assert check("def f(:\n").stages == {"PAR": "fail", "POL": "skip", "LCK": "skip", "CON": "skip"}


def test_findings_of_all_stages_come_together_and_sorted() -> None:
    text = changed(SKELETON, '"causal": True', '"causal": 1').replace(
        "import torch\n", "import os\nimport torch\n"
    )
    result = check(changed(text, "    return K**-0.5", "    return open(K)"))
    assert result.stages == {"PAR": "pass", "POL": "fail", "LCK": "fail", "CON": "fail"}
    assert list(result.findings) == sorted(result.findings, key=lambda finding: finding.sort_key())
    assert {finding.rule for finding in result.findings} >= {
        "POL-IMPORT",
        "POL-IO",
        "LCK-CHANGED",
        "LCK-ADDED",
        "CON-SPEC-VALUE",
    }


def test_a_free_mechanism_may_not_name_slots() -> None:
    text = changed(HONEST, '    "params": {},\n', '    "params": {},\n    "slots": {"phi": ["_grid"]},\n')
    assert [finding.rule for finding in check(text).findings] == ["CON-SLOTS"]


@pytest.mark.parametrize("text", [HONEST, SKELETON])
def test_blanking_keeps_line_numbers_and_nothing_else(text: str) -> None:
    lines = text.split("\n")
    kept = {part: blank_out(text, part).split("\n") for part in ("kernels", "wrapper", "oracle")}
    for part in kept.values():
        assert len(part) == len(lines)
        assert all(line in ("", original) for line, original in zip(part, lines, strict=True))
    trees = {name: ast.parse("\n".join(part)) for name, part in kept.items()}
    functions = {name: [node.name for node in tree.body] for name, tree in trees.items()}
    assert "forward" in functions["wrapper"]
    assert "backward" in functions["wrapper"]
    assert "reference" in functions["oracle"]
    assert not set(functions["kernels"]) & (set(functions["wrapper"]) | set(functions["oracle"]))
    assert all(isinstance(node, ast.FunctionDef) for tree in trees.values() for node in tree.body)


def test_blanking_keeps_the_helpers_that_a_part_reaches() -> None:
    assert "def _grid" in blank_out(HONEST, "wrapper")
    assert "def _grid" not in blank_out(HONEST, "oracle")
    assert "def _scale" in blank_out(SKELETON, "wrapper")
    assert "def _scale" in blank_out(SKELETON, "oracle")
    assert "def _phi_torch" not in blank_out(SKELETON, "wrapper")


def test_blanking_works_on_refused_text() -> None:
    assert "open(1)" in blank_out(in_forward("open(1)"), "wrapper")


def test_the_static_stages_take_less_than_a_second() -> None:
    text = SKELETON + "# a text that no cache has seen\n"
    start = time.process_time()
    check(text)
    assert time.process_time() - start < 1.0
