"""A definition reads no values, and what it is given stays as it is."""

from __future__ import annotations

import pytest
import torch

from tests.verify.source.mechanisms import HONEST, changed, check
from verify import torch_guard
from verify.oracle import Evaluation, Oracle
from verify.sandbox.wire import Refusal

# `augmented()` of the policy believes that `n` is a number.
BUMP = "def _bump(n: int) -> int:\n    n += 1e9\n    return n\n\n\n"


def definition(body: str, helper: str = "") -> str:
    """The honest running sum with other lines in its definition; the policy lets them pass."""
    text = changed(HONEST, "    output = S[:, None] + torch.cumsum(v, dim=1)\n", body)
    text = changed(text, "@triton.jit\ndef _forward_kernel", f"{helper}@triton.jit\ndef _forward_kernel")
    assert check(text).findings == ()
    return text


def evaluate(text: str, *, gradients: bool = False) -> list[torch.Tensor]:
    v, S = torch.rand(2, 3, 1, 4, dtype=torch.float64), torch.rand(2, 1, 4, dtype=torch.float64)
    call = Evaluation(
        function="reference",
        inputs=1,
        constants={},
        tensors=[v, S],
        differentiable=[True, True],
        cotangents=[torch.ones_like(v), torch.ones_like(S)] if gradients else None,
    )
    return Oracle(text).evaluate(call)


@pytest.fixture(params=("watch", "mode"), autouse=True)
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "mode":
        monkeypatch.setattr(torch_guard, "_WATCH", None)


@pytest.mark.parametrize("gradients", [False, True])
def test_an_honest_definition_is_answered(gradients: bool) -> None:
    assert len(evaluate(HONEST, gradients=gradients)) == (4 if gradients else 2)


@pytest.mark.parametrize("gradients", [False, True])
def test_a_definition_that_writes_into_its_arguments_is_refused(gradients: bool) -> None:
    text = definition("    output = S[:, None] + torch.cumsum(_bump(v), dim=1)\n", BUMP)
    with pytest.raises(Refusal) as refused:
        evaluate(text, gradients=gradients)
    assert refused.value.rule == "CON-REFERENCE"


def test_what_a_run_left_in_its_arguments_is_not_there_for_the_next() -> None:
    """The first run marks its input and reads a value; one that found the mark would read none."""
    body = (
        "    fresh = v[:1, :1].clamp(min=0.0, max=2.0)\n"
        "    v = _bump(v)\n"
        "    output = S[:, None] + torch.cumsum(v, dim=1) * math.sqrt([fresh.sum()][0])\n"
    )
    with pytest.raises(Refusal):
        evaluate(definition(body, BUMP).replace("import torch\n", "import math\n\nimport torch\n", 1))


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize(
    "mask",
    [
        "v[v > 0.5].shape[0]",
        "v[:, v[0, :, 0, 0] > 0.5].shape[1]",
        "torch.where(v > 0.5)[0].shape[0]",
        "v[torch.where(v > 0.5)].shape[0]",
        "torch.repeat_interleave(v, torch.arange(v.shape[1]), dim=1).shape[1]",
    ],
)
def test_a_shape_that_depends_on_values_is_a_value_read(mask: str, gradients: bool) -> None:
    text = definition(f"    output = S[:, None] + torch.cumsum(v, dim=1) * {mask}\n")
    with pytest.raises(Refusal) as refused:
        evaluate(text, gradients=gradients)
    assert refused.value.rule == "CON-VALUE-READ"


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize(
    "picked",
    [
        "v[:, torch.arange(v.shape[1])]",
        "torch.repeat_interleave(v, 1, dim=2)",
        "torch.where(v > 0.5, v, 0.0)",
    ],
)
def test_shapes_that_depend_on_shapes_alone_are_answered(picked: str, gradients: bool) -> None:
    text = definition(f"    output = S[:, None] + torch.cumsum({picked}, dim=1)\n")
    assert evaluate(text, gradients=gradients)[0].shape == (2, 3, 1, 4)
