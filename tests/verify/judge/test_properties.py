"""PRP: a broken property is found in the reference and in the kernels; `n/a` is derived, never declared."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from verify.findings import Status
from verify.judge.judge import WORKER_LIMITS, Judge
from verify.judge.properties import Properties, check_properties
from verify.judge.session import Session
from verify.source.lock import DEFAULT_TEMPLATES
from verify.source.static import check_static

TESTS = Path(__file__).parents[2]
GATED_SUM = (TESTS / "honest" / "gated_fading_sum.py").read_text()
MEAN_MIXER = (TESTS / "honest" / "mean_mixer.py").read_text()
WINDOW = (TESTS / "honest" / "window_attention.py").read_text()


def properties_of(
    judge: Judge, source: str, depth: Literal["quick", "full"] = "quick", *edits: tuple[str, str]
) -> Properties:
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    mechanism = check_static(source.encode(), path="mechanism.py").mechanism
    assert mechanism is not None
    assert judge.server is not None
    with Session(judge.server, mechanism, WORKER_LIMITS) as session:
        return check_properties(session, 7, depth=depth)


def rules_and_owners(found: Properties) -> set[tuple[str, str]]:
    return {
        (finding.rule, "reference" if "of the reference" in finding.message else "kernels")
        for finding in found.findings
    }


def test_every_property_of_an_honest_causal_mechanism_holds(judge: Judge) -> None:
    found = properties_of(judge, GATED_SUM, "full")
    assert found.findings == []
    assert set(found.statuses.values()) == {"pass"}


def test_what_quick_does_not_ask_is_skipped_and_not_passed(judge: Judge) -> None:
    assert properties_of(judge, GATED_SUM).statuses["impulse"] == "skip"


@pytest.mark.parametrize(
    ("source", "inapplicable"), [(MEAN_MIXER, {"causal", "prefix", "resume"}), (WINDOW, {"resume"})]
)
def test_not_applicable_is_derived_from_direction_and_state(
    judge: Judge, source: str, inapplicable: set[str]
) -> None:
    found = properties_of(judge, source)
    assert found.findings == []
    assert {name for name, status in found.statuses.items() if status == "n/a"} == inapplicable


def test_heads_that_the_reference_mixes_are_not_a_property(judge: Judge) -> None:
    found = properties_of(judge, (TESTS / "honest" / "heads_share_an_input.py").read_text())
    assert found.findings == []
    assert found.statuses["heads"] == "n/a"


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (
            "o = g * S\n",
            "o = g * S + 0.01 * tl.load(x_ptr + row + H * D, mask=inside & (t + 1 < T), other=0.0)\n",
            "PRP-CAUSAL",
        ),
        (
            "d_S += d_o * g\n",
            "later = tl.load(g_ptr + row + H * D, mask=inside & (t + 1 < T), other=0.0)\n"  # noqa: ISC004
            "        d_S += d_o * g + 0.01 * later\n",
            "PRP-CAUSAL",
        ),
        ("o = g * S\n", "o = g * S * (1.0 + tl.where(T < 60, 0.01, 0.0))\n", "PRP-PREFIX"),
        (
            "        S = 0.5 * S + x\n",
            "        if i_bh < H and tl.num_programs(0) > H:\n"  # noqa: ISC004
            "            x += 0.01 * tl.load(x_ptr + row + T * H * D, mask=inside).to(tl.float32)\n"
            "        S = 0.5 * S + x\n",
            "PRP-BATCH",
        ),
        (
            "tl.store(final_ptr + i_bh * D + columns, S, mask=inside)",
            "S *= tl.where((T > 35) & (T < 67), 1.01, 1.0)\n"  # noqa: ISC004
            "    tl.store(final_ptr + i_bh * D + columns, S, mask=inside)",
            "PRP-RESUME",
        ),
    ],
    ids=["output ahead", "gradient ahead", "length", "another sequence's input", "state of a split"],
)
def test_kernels_that_break_a_property_are_found(judge: Judge, old: str, new: str, rule: str) -> None:
    assert (rule, "kernels") in rules_and_owners(properties_of(judge, GATED_SUM, "quick", (old, new)))


@pytest.mark.parametrize("depth", ["full"])
def test_a_history_cut_short_shows_under_an_impulse(judge: Judge, depth: Literal["quick", "full"]) -> None:
    # 1 / 2 per token leaves nothing to cut after 40; without fading the sum runs over the whole length.
    slow = (
        ("        S = 0.5 * S + x[:, t]\n", "        S = S + x[:, t]\n"),
        (
            "        S = 0.5 * S + x\n",
            "        S = S + x\n        if t == 150:\n            S = tl.zeros((BLOCK,), tl.float32)\n",
        ),
        ("        d_S = 0.5 * d_S\n", ""),
    )
    assert ("PRP-IMPULSE", "kernels") in rules_and_owners(properties_of(judge, GATED_SUM, depth, *slow))


def test_the_same_seed_gives_the_same_answer(judge: Judge) -> None:
    def answer() -> tuple[dict[str, Status], list[str]]:
        found = properties_of(judge, GATED_SUM, "quick", ("o = g * S\n", "o = g * S / T\n"))
        return found.statuses, [finding.message for finding in found.findings]

    assert answer() == answer()


def test_a_window_that_narrows_at_the_lengths_that_are_timed_is_found(judge: Judge) -> None:
    plain = (DEFAULT_TEMPLATES / "softmax_attention" / "v1" / "plain.py").read_text()
    found = properties_of(judge, plain, "full", ("    return T\n", "    return T if T < 2000 else 16\n"))
    assert {finding.rule for finding in found.findings} == {"PRP-PREFIX"}
    assert "T=4096" in (found.findings[0].where or "")
