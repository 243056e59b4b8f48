from __future__ import annotations

from harness.engine.numbers import told_numbers

MEASURED = {
    "error_over_tolerance": {"float32": {"S": 0.07, "d_k": 0.3, "output": "inf"}, "bfloat16": {}},
    "compiler": [
        {"registers": 127, "spill_bytes": 0},
        {"registers": 168, "spill_bytes": 48},
        {"registers": None},
    ],
    "throughput": [
        {"device": "H100 (model)", "microseconds": 366.8, "shape": {"T": 4096, "B": 4}},
        {"device": "x", "microseconds": None, "shape": {}},
    ],
    "seconds": {"PRP": 18.0},
}


def test_the_worst_of_each_kind_is_told_and_no_clock_of_this_machine() -> None:
    assert told_numbers(MEASURED) == {
        "largest error / tolerance, float32": float("inf"),
        "most registers": 168.0,
        "most spilled bytes": 48.0,
        "microseconds, H100 (model), B=4 T=4096": 366.8,
    }


def test_nothing_measured_is_nothing_told() -> None:
    assert told_numbers({}) == {}
