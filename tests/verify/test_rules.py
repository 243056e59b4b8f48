"""The registry of rules: complete, stable in form, and equal to its page."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from verify.findings import STAGES
from verify.rules import RULES, as_markdown, explain

ROOT = Path(__file__).resolve().parents[2]
RULE_ID = re.compile(rf"(?:{'|'.join(STAGES)})-[A-Z0-9]+(?:-[A-Z0-9]+)*")


def cited() -> set[str]:
    """Every string in the code of verify/ and harness/ that has the form of a rule id."""
    files = [path for package in ("verify", "harness") for path in (ROOT / package).rglob("*.py")]
    texts = [path for path in files if "rule_texts" not in path.parts]
    return {
        node.value
        for path in texts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and RULE_ID.fullmatch(node.value)
    }


def test_every_rule_that_code_cites_is_registered() -> None:
    assert sorted(cited() - set(RULES)) == []


def test_the_page_is_generated_from_the_registry() -> None:
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == as_markdown()


def test_running_the_module_prints_the_page() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "verify.rules"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == as_markdown()


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_a_rule_says_what_why_and_how(rule) -> None:
    assert RULE_ID.fullmatch(rule.id)
    for sentence in (rule.what, rule.why, rule.fix):
        assert sentence[-1] in ".!"
    assert rule.title
    assert not rule.title.endswith(".")
    assert rule.example.strip()


def test_explain_prints_every_part() -> None:
    rule = RULES["POL-ATEN"]
    page = explain("pol-aten")
    assert all(part in page for part in (rule.id, rule.title, rule.what, rule.why, rule.fix, rule.example))


def test_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(KeyError, match="Did you mean POL-ATEN"):
        explain("POL-ATE")
    with pytest.raises(KeyError, match=r"docs/rules\.md"):
        explain("zzzz")
