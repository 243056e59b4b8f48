"""Advice is what was compiled: what would fit, what would not spill, and nothing that was not tried."""

from __future__ import annotations

import json
from typing import Any

import pytest

from verify.triton_cpu.compiler.fitting import MOST_TRIES, advised, trouble
from verify.triton_cpu.compiler.report import CompileReport, ReportError


def report(warps: int, stages: int, **fields: Any) -> CompileReport:
    held = {"kernel": "k", "target": "sm_90", "registers": 64} | fields
    return CompileReport(num_warps=warps, num_stages=stages, **held)


def compiler(calls: list[tuple[int, int]], shared: int = 0, spilled: Any = lambda warps, stages: 0) -> Any:
    """A stand-in for the compiler: shared memory grows with the stages."""

    def run(warps: int, stages: int) -> CompileReport:
        calls.append((warps, stages))
        return report(warps, stages, shared_bytes=shared * stages, spill_bytes=spilled(warps, stages))

    return run


def test_a_kernel_in_no_trouble_is_compiled_once() -> None:
    calls: list[tuple[int, int]] = []
    fine = report(4, 3, shared_bytes=100_000, spill_bytes=512)
    assert advised(fine, compiler(calls)) == fine
    assert advised(report(4, 3, error="no"), compiler(calls)).advice is None
    assert calls == []


def test_fewer_stages_are_tried_from_where_they_should_fit() -> None:
    calls: list[tuple[int, int]] = []
    found = advised(report(4, 4, shared_bytes=372_736), compiler(calls, shared=93_184)).advice
    assert calls == [(4, 2)]
    assert found is not None
    assert found.text == "num_stages 2 would fit (186,368 B)"
    calls.clear()
    found = advised(report(4, 5, shared_bytes=300_000), compiler(calls, shared=80_000)).advice
    assert calls == [(4, 4), (4, 3), (4, 1)]
    assert found is not None
    assert found.text == "num_stages 1 would fit (80,000 B)"
    assert [one.fits for one in found.tried] == [False, False, True]


def test_fewer_warps_and_both_come_after_stages() -> None:
    calls: list[tuple[int, int]] = []
    found = advised(report(8, 3, shared_bytes=900_000), compiler(calls, shared=300_000)).advice
    assert calls == [(8, 1), (4, 1)]
    assert found is not None
    assert "none fits" in found.text
    assert "300,000 B" in found.text
    assert "smaller tiles" in found.text


def test_what_fits_but_spills_is_said_to_spill() -> None:
    spilling = compiler([], shared=150_000, spilled=lambda warps, _: 9000 // warps)
    found = advised(report(4, 2, shared_bytes=300_000), spilling).advice
    assert found is not None
    assert found.text == "num_stages 1 would fit (150,000 B), but spill 2,250 B a thread"


def test_more_warps_that_remove_spills_are_named() -> None:
    calls: list[tuple[int, int]] = []
    spilling = report(4, 3, spill_bytes=824)
    found = advised(spilling, compiler(calls, spilled=lambda warps, _: 0 if warps >= 8 else 824)).advice
    assert calls == [(8, 3)]
    assert found is not None
    assert found.text == "num_warps 8 would remove them"


def test_spills_that_only_shrink_are_not_called_removed() -> None:
    halved = compiler([], spilled=lambda warps, _: 1600 // warps)
    found = advised(report(4, 3, spill_bytes=824), halved).advice
    assert found is not None
    assert found.text == "num_warps 8 would leave 200 B: use smaller tiles"
    hopeless = advised(report(4, 3, spill_bytes=824), compiler([], spilled=lambda *_: 824)).advice
    assert hopeless is not None
    assert "none helps" in hopeless.text


def test_a_block_of_too_many_threads_gets_the_most_that_there_are() -> None:
    calls: list[tuple[int, int]] = []
    found = advised(report(64, 2), compiler(calls)).advice
    assert calls == [(32, 2)]
    assert found is not None
    assert found.text == "num_warps 32 would fit (0 B)"


@pytest.mark.parametrize("warps", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("stages", [1, 2, 5, 16])
def test_tries_are_few_distinct_and_possible(warps: int, stages: int) -> None:
    for trouble_of in ({"shared_bytes": 10**6}, {"spill_bytes": 10**4}):
        calls: list[tuple[int, int]] = []
        advised(report(warps, stages, **trouble_of), compiler(calls, shared=10**6, spilled=lambda *_: 10**4))
        assert len(calls) == len(set(calls)) <= MOST_TRIES
        assert (warps, stages) not in calls
        assert all(1 <= w <= 32 and s >= 1 for w, s in calls)


def test_a_limit_of_none_lets_a_kernel_spill() -> None:
    assert trouble(report(4, 2, spill_bytes=10_000), spill_limit=None) is None
    assert trouble(report(4, 2, spill_bytes=1), spill_limit=0) == "spills"


def test_a_report_and_its_advice_come_back_from_json() -> None:
    found = advised(report(4, 4, shared_bytes=372_736), compiler([], shared=93_184))
    again = CompileReport.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found
    shown = again.shown()
    assert "seconds" not in shown
    assert shown["over_limits"] == ["needs 372,736 B of shared memory a block; sm_90 has 232,448"]
    assert shown["occupancy"]["limited_by"] == ("shared memory",)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", "sm_70"),
        ("num_warps", 0),
        ("num_warps", True),
        ("registers", -1),
        ("shared_bytes", 2.5),
        ("spill_bytes", 10**20),
        ("kernel", "k\x1b[2J"),
        ("kernel", 7),
        ("dots", [{"left": "bf16"}]),
        ("dots", "bf16"),
        ("census", {"no group": {}}),
        ("census", {"float": {"FFMA": "many"}}),
        ("index", {"i32": None}),
        ("warnings", ["w" * 3000]),
        ("error", ["no"]),
        ("advice", {"text": "x"}),
        ("seconds", float("nan")),
        ("options", {"maxnreg": [1]}),
    ],
)
def test_a_report_that_a_worker_made_up_is_refused(field: str, value: object) -> None:
    data = json.loads(json.dumps(report(4, 2).to_json()))
    with pytest.raises(ReportError):
        CompileReport.from_json({**data, field: value})
    with pytest.raises(ReportError):
        CompileReport.from_json({**data, "more": 1})
    del data[field]
    with pytest.raises(ReportError):
        CompileReport.from_json(data)
