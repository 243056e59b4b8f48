from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from harness.mechanism import BoundMechanism, load_source
from harness.mechanism.autograd import _Call, _KernelFunction
from harness.mechanism.backends import MAX_PLANS, KernelFault, layout_of
from tests.harness.mechanism.conftest import FADING, call, tensors
from tests.verify.device.on_cpu import OnCpu
from verify.device.runner import DevicePlanRunner, carried
from verify.plan.format import BufferDecl, Copy, Fill, Plan, TensorRef
from verify.source.static import blank_out
from verify.triton_cpu.interpreter.launch import load_kernels


def ref(buffer: int, *shape: int, dtype: str = "float32", offset: int = 0) -> TensorRef:
    strides = tuple(torch.empty(shape, device="meta").stride())
    return TensorRef(buffer=buffer, dtype=dtype, shape=shape, strides=strides, offset=offset)


def device_runner_on_cpu(bound: BoundMechanism) -> DevicePlanRunner:
    kernels = load_kernels(blank_out(bound.mechanism.source, keep="kernels"), "<on cpu>")
    return DevicePlanRunner({name: OnCpu(kernel) for name, kernel in kernels.items()})


def test_the_device_runner_agrees_with_the_interpreter() -> None:
    bound = load_source(FADING.read_bytes())
    values = tensors(bound)
    expected = call(bound, values, "kernels")
    d_expected = torch.autograd.grad(expected, values, [torch.ones_like(r) for r in expected])
    bound.__dict__["_interpreter"] = device_runner_on_cpu(bound)
    found = call(bound, values, "kernels")
    cotangents = [torch.ones_like(result) for result in found]
    once = torch.autograd.grad(found, values, cotangents, retain_graph=True)
    again = torch.autograd.grad(found, values, cotangents)
    for left, right in zip((*found, *once, *again), (*expected, *d_expected, *d_expected), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


def plan_of_copies(*, gradient: TensorRef) -> Plan:
    """y = 3 in every element but the last, which is that of x; backward: `gradient`, and y is read again."""
    arguments = [BufferDecl(nbytes=16, argument=name, label=name) for name in ("x", "d_output")]
    scratch = [BufferDecl(nbytes=16, argument=None, label=label) for label in ("y", "dx")]
    return Plan(
        buffers=(*arguments, *scratch),
        forward=(
            Fill(out=ref(2, 4), value=3.0, line=1),
            Copy(source=ref(0, 1, offset=3), out=ref(2, 1, offset=3), line=2),
        ),
        output=ref(2, 4),
        state=(),
        residuals=(ref(2, 4),),
        backward=(Copy(source=ref(2, 4), out=ref(3, 4), line=3),),
        gradients=(gradient,),
    )


def run(plan: Plan, arguments: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    runner = DevicePlanRunner({})
    done = runner.forward(plan, {"x": arguments["x"]})
    (gradient,) = runner.backward(plan, arguments, done.kept)
    assert gradient is not None
    return done.results[0], gradient


def test_fills_and_copies_reach_only_their_elements() -> None:
    x, d_output = torch.arange(5.0)[1:], torch.ones(4)
    output, gradient = run(plan_of_copies(gradient=ref(3, 4)), {"x": x, "d_output": d_output})
    assert output.tolist() == [3.0, 3.0, 3.0, 4.0]
    assert gradient.tolist() == output.tolist()


@pytest.mark.parametrize("source", [1, 2])
def test_a_gradient_shares_memory_with_nothing_that_others_hold(source: int) -> None:
    x, d_output = torch.arange(4.0), torch.ones(4)
    output, gradient = run(plan_of_copies(gradient=ref(source, 4)), {"x": x, "d_output": d_output})
    assert gradient.tolist() == (d_output if source == 1 else output).tolist()
    assert gradient.data_ptr() not in {x.data_ptr(), d_output.data_ptr(), output.data_ptr()}


def apply(plan: Plan, x: torch.Tensor) -> torch.Tensor:
    call = _Call(runner=DevicePlanRunner({}), plan=plan, names=("x",), cotangents=("d_output",))
    (output,) = _KernelFunction.apply(call, x)
    return output


def test_backward_may_use_up_what_forward_kept() -> None:
    plan = plan_of_copies(gradient=ref(3, 4))
    used_up = replace(
        plan,
        buffers=(*plan.buffers, BufferDecl(nbytes=16, argument=None, label="o")),
        forward=(*plan.forward, Copy(source=ref(2, 4), out=ref(4, 4), line=4)),
        output=ref(4, 4),
        backward=(*plan.backward, Fill(out=ref(2, 4), value=0.0, line=5)),
    )
    x = torch.arange(4.0, requires_grad=True)
    total = apply(used_up, x).sum()
    for _ in range(3):
        (gradient,) = torch.autograd.grad(total, x, retain_graph=True)
        assert gradient.tolist() == [3.0, 3.0, 3.0, 3.0]


def test_a_result_that_backward_reads_must_not_be_modified() -> None:
    output = apply(plan_of_copies(gradient=ref(3, 4)), torch.arange(4.0, requires_grad=True))
    with torch.no_grad():
        output += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_backward_carries_only_the_scratch_that_both_phases_use() -> None:
    assert carried(plan_of_copies(gradient=ref(3, 4))) == (2,)


def test_a_layout_ends_with_the_last_element() -> None:
    base = torch.empty(10, 6)
    assert layout_of(base[2:4, 1:3]).length == 6 + 2
    assert layout_of(torch.empty(1).expand(3, 4)).length == 1
    assert layout_of(base[:0]).length == 0


def test_plans_are_forgotten_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.mechanism.backends.MAX_PLANS", 2)
    bound = load_source(FADING.read_bytes())
    for T in (1, 2, 1, 3, 1):
        call(bound, tensors(bound, T=T, grad=False), "kernels")
    kept = {key[0][0].shape[1] for key in bound.plans._cache}
    assert kept == {1, 3}
    assert MAX_PLANS > 2


def test_a_kernel_that_leaves_its_tensor_is_named() -> None:
    source = FADING.read_text().replace(", mask=inside, other=0.0)\n    for t in", ")\n    for t in")
    bound = load_source(source.encode())
    with pytest.raises(KernelFault, match=r"_forward_kernel: out-of-bounds load in S at element"):
        call(bound, tensors(bound, grad=False), "kernels")


def test_a_wrapper_that_breaks_its_spec_is_named() -> None:
    source = FADING.read_text().replace(
        "return d_q, d_k, d_v, d_a, d_initial", "return d_q, d_k, d_v, d_a, d_a"
    )
    bound = load_source(source.encode())
    with pytest.raises(
        ValueError, match=r"the gradient of S: expected \(2, 2, 3, 4\) in float32, got \(2,\)"
    ):
        call(bound, tensors(bound), "kernels")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_on_the_device_agree_with_parallel(bound: BoundMechanism, dtype: torch.dtype) -> None:
    entries = bound.spec.differentiated
    leaves = tensors(bound, T=67, K=20, V=33, grad=False)
    cast = (v.to(dtype) if entry.dtype == "io" else v for entry, v in zip(entries, leaves, strict=True))
    values = [value.cuda().requires_grad_() for value in cast]
    found, expected = (call(bound, values, backend) for backend in ("kernels", "parallel"))
    tolerance = 1e-3 if dtype == torch.float32 else 3e-2
    for left, right in zip(found, expected, strict=True):
        assert (left - right).norm() <= tolerance * right.norm()
    cotangents = [torch.randn_like(result) for result in found]
    d_found, d_expected = (torch.autograd.grad(results, values, cotangents) for results in (found, expected))
    for left, right in zip(d_found, d_expected, strict=True):
        assert (left - right).norm() <= tolerance * right.norm()
