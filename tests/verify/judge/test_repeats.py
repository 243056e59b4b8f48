"""The bits may depend on inputs alone: not on stale memory, on the order of programs, or on the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from verify.judge.cases import Case
from verify.judge.judge import WORKER_LIMITS, Judge
from verify.judge.repeats import check_repeats
from verify.judge.session import Session
from verify.source.static import check_static

GATED_SUM = (Path(__file__).parents[2] / "honest" / "gated_fading_sum.py").read_text()
CASE = Case(sizes=(("B", 2), ("T", 9), ("H", 2), ("D", 5)), dtype="float32")


def rules_of(judge: Judge, source: str) -> set[str]:
    mechanism = check_static(source.encode(), path="mechanism.py").mechanism
    assert mechanism is not None
    assert judge.server is not None
    with Session(judge.server, mechanism, WORKER_LIMITS) as session:
        return {finding.rule for finding in check_repeats(session, CASE, seed=5)}


def test_an_honest_mechanism_repeats(judge: Judge) -> None:
    assert rules_of(judge, GATED_SUM) == set()


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (
            "tl.store(final_ptr + i_bh * D + columns, S, mask=inside)",
            "S += 0.0 * tl.load(final_ptr + i_bh * D + columns, mask=inside, other=0.0)\n"  # noqa: ISC004
            "    tl.store(final_ptr + i_bh * D + columns, S, mask=inside)",
            "MEM-POISON",
        ),
        (
            "tl.store(final_ptr + i_bh * D + columns, S, mask=inside)",
            "tl.store(final_ptr + columns, S, mask=inside)\n"  # noqa: ISC004
            "    tl.store(final_ptr + (tl.num_programs(0) - 1) * D + columns, S, mask=inside)\n"
            "    tl.store(final_ptr + i_bh * D + columns, S, mask=inside & (i_bh > 0) & (i_bh < 3))",
            "MEM-ORDER",
        ),
    ],
    ids=["stale memory", "last program wins"],
)
def test_what_the_bits_depend_on_is_named(judge: Judge, old: str, new: str, rule: str) -> None:
    assert old in GATED_SUM
    assert rule in rules_of(judge, GATED_SUM.replace(old, new))
