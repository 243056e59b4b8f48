"""The tracer is the second line behind the policy: what gets past the syntax tree is refused at its line."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from verify.plan.format import Copy, Fill, Launch, Plan
from verify.plan.request import Layout, TraceRequest
from verify.plan.signatures import kernel_signatures
from verify.plan.tracer import trace
from verify.sandbox.wire import Refusal

KERNEL = """
@triton.jit
def _k(x, y, n, BLOCK: tl.constexpr = 16):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n), mask=i < n)

"""
FORWARD = """
def forward(q, *, state, tuning):
    out = torch.empty_like(q)
    {body}
    _k[(triton.cdiv(q.numel(), 16),)](q, out, q.numel(), num_warps=tuning["num_warps"])
    return out, (), (q,)

def backward(residuals, d_output, d_state, *, needs, tuning):
    grad = torch.empty_like(residuals[0])
    d_output = d_output.contiguous()
    _k[lambda meta: (triton.cdiv(d_output.numel(), meta["BLOCK"]),)](d_output, grad, d_output.numel())
    return (grad if needs[0] else None,)
"""
LINE = KERNEL.count("\n") + 4


def plan_of(
    body: str = "pass", *, layout: Layout | None = None, needs: tuple[bool, ...] | None = (True,)
) -> Plan:
    source = KERNEL + FORWARD.replace("{body}", body)
    dense = Layout.dense((2, 5, 2, 3), "float32")
    request = TraceRequest(
        inputs=(("q", layout or dense),),
        params=(),
        state=(),
        d_output=dense,
        d_state=(),
        needs=needs,
        tuning={"num_warps": 2},
        constants={},
    )
    return trace(source, request, kernel_signatures(source, ("_k",)))


def test_a_plan_records_launches_buffers_and_results() -> None:
    plan = plan_of()
    (forward,) = (step for step in plan.forward if isinstance(step, Launch))
    assert (forward.kernel, forward.grid, forward.num_warps) == ("_k", (4, 1, 1), 2)
    assert dict(forward.arguments)["BLOCK"] == 16
    assert dict(forward.arguments)["n"] == 60
    assert plan.buffers[plan.output.buffer].argument is None
    assert plan.gradients is not None
    assert plan.gradients[0] is not None


def test_a_grid_may_be_a_function_of_the_arguments() -> None:
    backward = [step for step in plan_of().backward if isinstance(step, Launch)]
    assert backward[0].grid == (4, 1, 1)


def test_a_contiguous_call_copies_only_what_is_strided() -> None:
    strided = Layout(shape=(2, 5, 2, 3), strides=(30, 3, 15, 1), offset=0, dtype="float32", length=60)
    body = "q = q.contiguous()"
    assert not [step for step in plan_of(body).forward if isinstance(step, Copy)]
    assert len([step for step in plan_of(body, layout=strided).forward if isinstance(step, Copy)]) == 1


def test_fills_and_casts_are_steps_of_the_plan() -> None:
    plan = plan_of(
        "z = torch.full((3,), 2.5, dtype=torch.bfloat16, device=q.device); z = z.to(torch.float32)"
    )
    kinds = [type(step) for step in plan.forward]
    assert kinds == [Fill, Copy, Launch]


def test_the_same_request_gives_the_same_plan() -> None:
    assert plan_of().to_json() == plan_of().to_json()


def test_without_needs_there_is_no_backward() -> None:
    plan = plan_of(needs=None)
    assert plan.gradients is None
    assert plan.backward == ()


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("q.max().item()", "CON-ATEN"),
        ("q[0, 0, 0, 0].item()", "CON-VALUE-READ"),
        ("bool(q[0, 0, 0, 0])", "CON-VALUE-READ"),
        ("float(q[0, 0, 0, 0])", "CON-VALUE-READ"),
        ("q @ q", "CON-ATEN"),
        ("q + 1", "CON-ATEN"),
        ("q.mul_(2)", "CON-ATEN"),
        ("q.zero_()", "CON-INPUT-WRITE"),
        ("q.copy_(q)", "CON-INPUT-WRITE"),
        ("torch.matmul(q, q)", "CON-WRAPPER-ERROR"),
        ("open('/etc/passwd')", "CON-WRAPPER-ERROR"),
        ("import os", "CON-WRAPPER-ERROR"),
        ("torch.empty(3, device='cuda')", "CON-DEVICE"),
        ("_k(q, out, 3)", "CON-LAUNCH"),
        ("_k[(0,)](q, out, 3)", "CON-LAUNCH"),
        ("_k[(1,)](q, out)", "CON-LAUNCH"),
        ("_k[(1,)](q, out, 3, 16, 17)", "CON-LAUNCH"),
        ("_k[(1,)](q, out, 3, nothing=1)", "CON-LAUNCH"),
        ("_k[(1,)](q, out, 'text')", "CON-LAUNCH"),
        ("while True: pass", "CON-WORK-LIMIT"),
        ("[0 for _ in range(10**9)]", "CON-WORK-LIMIT"),
        ("[_k[(1,)](q, out, 3) for _ in range(10000)]", "CON-PLAN-SIZE"),
        ("[torch.empty(1, device=q.device) for _ in range(2000)]", "CON-PLAN-SIZE"),
    ],
)
def test_what_a_plan_cannot_hold_is_refused_at_its_line(body: str, rule: str) -> None:
    with pytest.raises(Refusal) as refused:
        plan_of(body)
    assert (refused.value.rule, refused.value.line) == (rule, LINE)


@pytest.mark.parametrize("result", ["out", "(out,)", "(out, (), [q])", "(1, (), ())", "(out, (out,), ())"])
def test_a_wrong_result_structure_is_refused(result: str) -> None:
    with pytest.raises(Refusal) as refused:
        plan_of(f"return {result}")
    assert refused.value.rule == "CON-RESULT"
