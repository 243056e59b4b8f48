from __future__ import annotations

import itertools

import pytest
import torch

from harness.mechanism import BoundMechanism
from tests.harness.mechanism.conftest import call, tensors

TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}
BACKENDS = ("parallel", "kernels")


def loss_of(results: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A loss whose gradient differs at every element and every result."""
    return torch.stack(
        [(result.float() * (1 + number)).sin().sum() for number, result in enumerate(results)]
    ).sum()


def gradients(bound: BoundMechanism, values: list[torch.Tensor], backend: str) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss_of(call(bound, values, backend)), values))


def assert_close(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, **TOLERANCE)


def test_kernels_and_parallel_give_the_same_results_and_gradients(bound: BoundMechanism) -> None:
    values = tensors(bound)
    assert_close(list(call(bound, values, "kernels")), list(call(bound, values, "parallel")))
    assert_close(gradients(bound, values, "kernels"), gradients(bound, values, "parallel"))


def test_the_eager_form_is_the_reference(bound: BoundMechanism) -> None:
    values = tensors(bound, T=9, grad=False)
    count = len(bound.spec.arguments)
    definition = bound.eager._function.__globals__["reference"]
    output, state = definition(*values[:count], state=tuple(values[count:]), **bound.spec.constants)
    assert_close(list(call(bound, values, "parallel")), [output, *state])


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_subset_of_tensors_may_need_gradients(fading: BoundMechanism, backend: str) -> None:
    everything = gradients(fading, tensors(fading, T=2), "parallel")
    for wanted in itertools.product((False, True), repeat=len(everything)):
        values = tensors(fading, T=2, grad=False)
        chosen = [value.requires_grad_() for value, need in zip(values, wanted, strict=True) if need]
        if not chosen:
            assert not call(fading, values, backend)[0].requires_grad
            continue
        found = torch.autograd.grad(loss_of(call(fading, values, backend)), chosen)
        assert_close(
            list(found), [gradient for gradient, need in zip(everything, wanted, strict=True) if need]
        )


def test_no_grad_plans_forward_only(fading: BoundMechanism) -> None:
    values = tensors(fading, T=3)
    with torch.no_grad():
        results = call(fading, values, "kernels")
    assert not any(result.requires_grad for result in results)
    assert_close(list(results), list(call(fading, values, "parallel")))
    assert [plan.gradients for plan in fading.plans._cache.values()][-1] is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["expanded", "transposed", "strided"])
def test_cotangents_of_any_layout(fading: BoundMechanism, backend: str, kind: str) -> None:
    def cotangent(result: torch.Tensor) -> torch.Tensor:
        if kind == "expanded":
            return torch.tensor(0.7).expand(result.shape)
        dense = torch.linspace(-1, 1, result.numel()).reshape(result.shape)
        if kind == "transposed":
            return dense.transpose(0, 1).contiguous().transpose(0, 1)
        return torch.stack([dense, dense + 1], dim=-1)[..., 0]

    values = tensors(fading)
    results = call(fading, values, backend)
    found = torch.autograd.grad(results, values, [cotangent(result) for result in results])
    expected_results = call(fading, values, "parallel")
    dense = [cotangent(result).contiguous() for result in expected_results]
    assert_close(list(found), list(torch.autograd.grad(expected_results, values, dense)))


def test_inputs_of_any_layout(fading: BoundMechanism) -> None:
    q, k, v, a, S = tensors(fading, grad=False)
    fused = torch.cat([q, k], dim=-1)
    odd = [fused[..., :3], fused[..., 3:], v.transpose(1, 2).contiguous().transpose(1, 2), a[:1].expand(2), S]
    odd = [value.requires_grad_() if value.is_leaf else value.detach().requires_grad_() for value in odd]
    assert [value.is_contiguous() for value in odd] == [False, False, False, False, True]
    assert_close(
        gradients(fading, odd, "kernels"), gradients(fading, [o.contiguous() for o in odd], "parallel")
    )


@pytest.mark.parametrize("unused", [0, 1])
def test_an_unused_result_has_a_zero_gradient(fading: BoundMechanism, unused: int) -> None:
    def found(backend: str) -> list[torch.Tensor]:
        values = tensors(fading)
        used = call(fading, values, backend)[1 - unused]
        grads = torch.autograd.grad(used.sin().sum(), values, allow_unused=True)
        return [torch.zeros_like(v) if g is None else g for v, g in zip(values, grads, strict=True)]

    assert_close(found("kernels"), found("parallel"))


def test_two_calls_in_one_graph_add_up(fading: BoundMechanism) -> None:
    def found(backend: str) -> list[torch.Tensor]:
        values = tensors(fading)
        output, state = call(fading, values, backend)
        results = call(fading, [output[..., :3], values[1], output, values[3], state], backend)
        return list(torch.autograd.grad(loss_of(results), values))

    assert_close(found("kernels"), found("parallel"))


def test_interleaved_calls_do_not_mix(fading: BoundMechanism) -> None:
    first, second = tensors(fading, seed=1), tensors(fading, seed=2)
    alone = [gradients(fading, values, "kernels") for values in (first, second)]
    losses = [loss_of(call(fading, values, "kernels")) for values in (first, second)]
    assert_close(list(torch.autograd.grad(losses[0], first)), alone[0])
    assert_close(list(torch.autograd.grad(losses[1], second)), alone[1])


def test_backward_twice_with_retain_graph_gives_the_same_twice(bound: BoundMechanism) -> None:
    values = tensors(bound)
    loss = loss_of(call(bound, values, "kernels"))
    once = torch.autograd.grad(loss, values, retain_graph=True)
    again = torch.autograd.grad(loss, values)
    assert all(torch.equal(left, right) for left, right in zip(once, again, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, values)


def test_an_input_modified_before_backward_is_an_error(fading: BoundMechanism) -> None:
    values = tensors(fading)
    loss = loss_of(call(fading, values, "kernels"))
    with torch.no_grad():
        values[0].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_result_may_be_modified_in_place(fading: BoundMechanism) -> None:
    values = tensors(fading)
    output, state = call(fading, values, "kernels")
    output += 1
    torch.testing.assert_close(
        torch.autograd.grad(loss_of((output - 1, state)), values)[0],
        gradients(fading, values, "parallel")[0],
        **TOLERANCE,
    )


def test_double_backward_through_kernels_says_that_there_is_none(fading: BoundMechanism) -> None:
    values = tensors(fading)
    output = call(fading, values, "kernels")[0]
    (d_q,) = torch.autograd.grad(
        output.sum(), values[:1], create_graph=True
    )  # its cotangent needs no gradient
    with pytest.raises(RuntimeError, match=r"differentiated once only.*backend='parallel'"):
        d_q.square().sum().backward()


def test_double_backward_through_parallel_is_right(fading: BoundMechanism) -> None:
    values = tensors(fading, T=3)

    def first(v: torch.Tensor) -> torch.Tensor:
        output = call(fading, [values[0], values[1], v, *values[3:]], "parallel")[0]
        return torch.autograd.grad(output.square().sum(), v, create_graph=True)[0].sum()

    (second,) = torch.autograd.grad(first(values[2]), values[2])
    step = 1e-2
    bumped = values[2].detach().clone()
    bumped[0, 0, 0, 0] += step
    slope = (
        first(bumped.requires_grad_()) - first(values[2])
    ) / step  # exact: the first gradient is linear in v
    torch.testing.assert_close(second[0, 0, 0, 0], slope, rtol=1e-2, atol=1e-2)


def test_gradients_accumulate_into_leaves(fading: BoundMechanism) -> None:
    values = tensors(fading)
    for _ in range(2):
        loss_of(call(fading, values, "kernels")).backward()
    assert_close([value.grad for value in values], [2 * g for g in gradients(fading, values, "parallel")])


def linear_loss_of(results: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A loss whose cotangents do not depend on the results, so that rounding them does not change it."""
    weights = [torch.linspace(-1, 2, result.numel()).reshape(result.shape) for result in results]
    return torch.stack([(w * r.float()).sum() for w, r in zip(weights, results, strict=True)]).sum()


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_casts_io_tensors_and_keeps_float32_ones(bound: BoundMechanism, backend: str) -> None:
    values = tensors(bound)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, *state = call(bound, values, backend)
    assert output.dtype == torch.bfloat16
    assert {tensor.dtype for tensor in state} == {torch.float32}
    found = torch.autograd.grad(linear_loss_of((output, *state)), values)
    assert [gradient.dtype for gradient in found] == [torch.float32] * len(values)
    expected = torch.autograd.grad(linear_loss_of(call(bound, values, "parallel")), values)
    for low, high in zip(found, expected, strict=True):
        assert (low - high).norm() < 0.03 * high.norm()


def test_bfloat16_backends_agree(bound: BoundMechanism) -> None:
    values = tensors(bound, grad=False)
    entries = bound.spec.differentiated
    io = [v.bfloat16() if entry.dtype == "io" else v for entry, v in zip(entries, values, strict=True)]
    for kernels, parallel in zip(call(bound, io, "kernels"), call(bound, io, "parallel"), strict=True):
        assert kernels.dtype == parallel.dtype
        torch.testing.assert_close(kernels, parallel, rtol=3e-2, atol=3e-2)


def test_one_plan_serves_equal_layouts(fading: BoundMechanism) -> None:
    plans = len(fading.plans)
    gradients(fading, tensors(fading, T=6, seed=1), "kernels")
    gradients(fading, tensors(fading, T=6, seed=2), "kernels")
    assert len(fading.plans) == plans + 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t[:3], TypeError, r"expected 4 tensors \(q, k, v, a\), got 3"),
        (lambda t: [t[0][..., :2], *t[1:]], ValueError, "k: expected K = 2"),
        (lambda t: [t[0].double(), *t[1:]], TypeError, "io tensors in one of float32, bfloat16, got float64"),
        (lambda t: [t[0], t[1].bfloat16(), *t[2:]], TypeError, "k: expected float32 .* got bfloat16"),
        (lambda t: [*t[:3], t[3].bfloat16()], TypeError, "a: expected float32 .by its SPEC., got bfloat16"),
        (lambda t: [t[0][0], *t[1:]], ValueError, r"q: expected the dimensions \(B, T, H, K\)"),
    ],
)
def test_wrong_tensors_are_named(fading: BoundMechanism, change, error, message) -> None:
    with pytest.raises(error, match=message):
        fading(*change(tensors(fading)[:4]))


def test_wrong_options_are_named(fading: BoundMechanism) -> None:
    values = tensors(fading)[:4]
    with pytest.raises(ValueError, match="backend: expected one of auto, parallel, kernels, got 'cuda'"):
        fading(*values, backend="cuda")
    with pytest.raises(ValueError, match="tuning: expected an index below 2, got 2"):
        fading(*values, tuning=2)
    with pytest.raises(TypeError, match="state: expected 1 tensors"):
        fading(*values, state=())
