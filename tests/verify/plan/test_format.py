"""A plan comes from a process that ran hostile Python: nothing in it is believed."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.plan.format import Plan, PlanError, TensorRef

REF = {"buffer": 0, "dtype": "float32", "shape": [2, 3], "strides": [3, 1], "offset": 0}
SCRATCH = {**REF, "buffer": 1}
PLAN: dict[str, Any] = {
    "plan": 1,
    "buffers": [
        {"nbytes": 24, "argument": "q", "label": "q"},
        {"nbytes": 24, "argument": None, "label": "empty"},
    ],
    "forward": [
        {"op": "fill", "out": SCRATCH, "value": (0.5).hex(), "line": 3},
        {
            "op": "launch",
            "kernel": "_k",
            "grid": [1, 2, 1],
            "num_warps": 4,
            "num_stages": 2,
            "line": 4,
            "arguments": [
                ["q", {"tensor": REF}],
                ["n", {"value": 3}],
                ["s", {"float": (0.1).hex()}],
                ["d", {"dtype": "bfloat16"}],
                ["m", {"value": None}],
            ],
        },
    ],
    "output": SCRATCH,
    "state": [],
    "residuals": [{"tensor": REF}, {"value": 2}],
    "backward": [{"op": "copy", "source": REF, "out": SCRATCH, "line": 9}],
    "gradients": [SCRATCH, None],
}


def read(data: Any) -> Plan:
    return Plan.from_json(data, kernels=["_k"], arguments={"q": 24})


def broken(path: list[str | int], value: Any) -> Any:
    data = copy.deepcopy(PLAN)
    target = data
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return data


def test_a_plan_survives_json_unchanged() -> None:
    plan = read(json.loads(json.dumps(PLAN)))
    assert plan.to_json() == PLAN
    assert read(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["plan"], 2),
        (["forward", 1, "kernel"], "_other"),
        (["forward", 1, "grid"], [0, 1, 1]),
        (["forward", 1, "grid"], [1, 1]),
        (["forward", 1, "num_warps"], True),
        (["forward", 1, "arguments", 0, 1], {"tensor": {**REF, "offset": 1}}),
        (["forward", 1, "arguments", 0, 1], {"tensor": {**REF, "strides": [1 << 39, 1]}}),
        (["forward", 1, "arguments", 0, 1], {"tensor": {**REF, "strides": [-3, 1]}}),
        (["forward", 1, "arguments", 1, 1], {"value": "text"}),
        (["forward", 1, "arguments", 1, 1], {"value": 1 << 70}),
        (["forward", 1, "arguments", 1, 0], "q"),
        (["forward", 0, "op"], "exec"),
        (["forward", 0, "value"], 0.5),
        (["forward"], {}),
        (["backward", 0, "source", "shape"], [3, 2]),
        (["output", "buffer"], 7),
        (["output", "dtype"], "object"),
        (["output", "shape"], [2, 3, 1]),
        (["output", "shape"], [2.0, 3]),
        (["buffers", 0, "nbytes"], 48),
        (["buffers", 1, "argument"], "v"),
        (["buffers", 1, "nbytes"], 1 << 40),
        (["residuals", 0], {"dtype": "float32"}),
        (["gradients"], ["q"]),
    ],
)
def test_a_plan_that_breaks_the_format_is_refused(path: list[str | int], value: Any) -> None:
    with pytest.raises(PlanError):
        read(broken(path, value))


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(PlanError, match="expected the keys"):
        read({**PLAN, "extra": 1})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
)
def test_any_json_is_a_plan_or_a_plan_error(data: Any) -> None:
    with pytest.raises(PlanError):
        read(data)


def test_contiguity_ignores_the_stride_of_a_dimension_of_one() -> None:
    assert TensorRef(buffer=0, dtype="float32", shape=(1, 3), strides=(77, 1), offset=0).contiguous
    assert not TensorRef(buffer=0, dtype="float32", shape=(2, 3), strides=(1, 2), offset=0).contiguous
