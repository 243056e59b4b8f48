"""A small operator of our own in the shape of a library's: y_t = s_t = a s_{t-1} + x_t, with its state."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from verify.foreign.references import spans
from verify.foreign.spec import Case, Input, Output, Properties, Resume, Spec

DECAY = 0.75


@triton.jit
def forward_kernel(
    x, y, first, last, borders, T, N, D: tl.constexpr, BLOCK: tl.constexpr, DECAY: tl.constexpr
):
    number = tl.program_id(0)
    d = tl.arange(0, BLOCK)
    seen = d < D
    begin, end = number * T, number * T + T
    if borders is not None:
        begin = tl.load(borders + number).to(tl.int32)
        end = tl.load(borders + number + 1).to(tl.int32)
    state = tl.load(first + number * D + d, mask=seen, other=0.0)
    for t in range(begin, end):
        state = DECAY * state + tl.load(x + t * D + d, mask=seen, other=0.0).to(tl.float32)
        tl.store(y + t * D + d, state.to(y.dtype.element_ty), mask=seen)
    tl.store(last + number * D + d, state, mask=seen)


@triton.jit
def backward_kernel(
    dy, dx, dfirst, dlast, borders, T, D: tl.constexpr, BLOCK: tl.constexpr, DECAY: tl.constexpr
):
    number = tl.program_id(0)
    d = tl.arange(0, BLOCK)
    seen = d < D
    begin, end = number * T, number * T + T
    if borders is not None:
        begin = tl.load(borders + number).to(tl.int32)
        end = tl.load(borders + number + 1).to(tl.int32)
    grad = tl.load(dlast + number * D + d, mask=seen, other=0.0)
    for t in range(end - 1, begin - 1, -1):
        grad += tl.load(dy + t * D + d, mask=seen, other=0.0).to(tl.float32)
        tl.store(dx + t * D + d, grad.to(dx.dtype.element_ty), mask=seen)
        grad = grad * DECAY
    tl.store(dfirst + number * D + d, grad, mask=seen)


class DecayedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, first, borders):
        x = x.contiguous()
        B, T, D = x.shape
        N = B if borders is None else len(borders) - 1
        first = x.new_zeros(N, D, dtype=torch.float32) if first is None else first.contiguous()
        y, last = torch.empty_like(x), torch.empty(N, D, dtype=torch.float32, device=x.device)
        block = triton.next_power_of_2(D)
        forward_kernel[(N,)](x, y, first, last, borders, T, N, D=D, BLOCK=block, DECAY=DECAY)
        ctx.shape, ctx.borders = (T, N, D, block), borders
        return y, last

    @staticmethod
    def backward(ctx, dy, dlast):
        T, N, D, block = ctx.shape
        dy, dlast = dy.contiguous(), dlast.contiguous()
        dx = torch.empty_like(dy)
        dfirst = torch.empty(N, D, dtype=torch.float32, device=dy.device)
        backward_kernel[(N,)](dy, dx, dfirst, dlast, ctx.borders, T, D=D, BLOCK=block, DECAY=DECAY)
        return dx, dfirst if ctx.needs_input_grad[1] else None, None


def call(x, first=None, borders=None):
    return DecayedSum.apply(x, first, borders)


def reference(x, first=None, borders=None):
    rows, states = [[] for _ in range(x.shape[0])], []
    for number, b, start, end in spans(borders, x.shape[0], x.shape[1]):
        state = x.new_zeros(x.shape[2]) if first is None else first[number]
        for t in range(start, end):
            state = DECAY * state + x[b, t]
            rows[b].append(state)
        states.append(state)
    return torch.stack([torch.stack(row) for row in rows]), torch.stack(states)


SMALL = {"B": 2, "T": 9, "D": 5, "N": 2}

SPEC = Spec(
    name="decayed sum",
    call=call,
    reference=reference,
    inputs=(
        Input(name="x", dims="B T D"),
        Input(name="first", dims="N D", dtype="float32", optional=True),
        Input(name="borders", dims="N+1", domain="offsets", dtype="int64", optional=True),
    ),
    outputs=(
        Output(name="y", dims="B T D"),
        Output(name="last", dims="N D", dtype="float32", state=True),
    ),
    cases=(
        Case(name="usual", sizes=SMALL, given=("first",), depth="quick"),
        Case(name="packed", sizes={"B": 1, "D": 4}, given=("borders", "first"), lengths=(1, 4, 3)),
        Case(name="strided", sizes=SMALL, layout="transposed", cotangent="expanded"),
        Case(name="gaps", sizes=SMALL, given=("first",), layout="gapped", cotangent="gapped"),
    ),
    properties=Properties(
        case=Case(name="properties", sizes={"B": 2, "T": 33, "D": 4, "N": 2}),
        causal=True,
        batch=True,
        resume=Resume(input="first", output="last", cuts=(10,)),
        packed="borders",
    ),
    loop_steps=2000,
    compile_case=Case(
        name="model", sizes={"B": 2, "T": 64, "D": 32, "N": 2}, given=("first",), dtypes=("bfloat16",)
    ),
)
