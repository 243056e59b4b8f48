"""What compute-sanitizer says of a case becomes findings; what it does not say becomes none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.verify.device.conftest import Open
from tests.verify.device.test_execution import CASE
from verify.device.memcheck import check_memory

ACCESS = {"what": "write", "kernel": "_forward_kernel", "line": 88}


@pytest.mark.parametrize(
    ("answer", "rules", "word"),
    [
        ({"accesses": [], "problem": None}, [], "clean"),
        ({"accesses": [ACCESS], "problem": None}, ["MEM-OUT-OF-BOUNDS"], "findings"),
        ({"accesses": [], "problem": "it did not start"}, [], "not checked: it did not start"),
    ],
)
def test_a_case_is_clean_only_where_the_checker_said_so(
    on_device: Open, honest: str, monkeypatch: pytest.MonkeyPatch, answer: Any, rules: list[str], word: str
) -> None:
    session = on_device(honest)
    monkeypatch.setattr(session, "memcheck", lambda *_: answer)
    findings, said = check_memory(session, CASE, 7)
    assert [finding.rule for finding in findings] == rules
    assert [finding.line for finding in findings] == [88] * len(rules)
    assert said == word
