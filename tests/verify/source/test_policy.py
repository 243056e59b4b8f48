from __future__ import annotations

import ast
from itertools import product

import pytest

from tests.verify.source.mechanisms import (
    HONEST,
    changed,
    in_forward,
    in_kernel,
    in_reference,
    judged,
    only,
    rules,
)
from verify.source.outline import Outline
from verify.source.policy import check_policy


def test_the_policy_needs_no_spec() -> None:
    assert check_policy(Outline(ast.parse(HONEST)), None) == []


@pytest.mark.parametrize(
    "line",
    [
        "extra = torch.zeros((B, H), dtype=torch.float32, device=v.device)",
        "extra = v.new_empty((B, 2 * H))",
        "parts = [v[:, t] for t in range(0, T, 2) if t % 3]",
        "rows = tuple(size for size in v.shape)",
        "first, *rest = v.shape",
        "assert V > 0, 'V is a size'",
        "half = v.to(torch.bfloat16) if v.dtype == torch.float32 else v",
        "wide = v.transpose(1, 2).reshape(B * H, T, V)[..., :4]",
        "programs = math.prod(v.shape[:2]) // max(1, triton.next_power_of_2(V))".replace("math.prod", "sum"),
        "same = v is output or v is not None",
        "sizes = list(range(3)); sizes.append(4)",
        "count = 0\n    while count < 3:\n        count += 1",
        "if V > 4096:\n        raise ValueError('V is too large')",
        "flat = any(stride == 0 for stride in v.stride())",
    ],
)
def test_ordinary_wrapper_code_passes(line: str) -> None:
    assert judged(in_forward(line)) == []


@pytest.mark.parametrize(
    "line",
    [
        "weights = torch.softmax(v.transpose(1, 2), dim=-1)",
        "v = torch.where(v > 0, v, torch.zeros_like(v))",
        "v = torch.einsum('bthv,bthv->bth', v, v)[..., None] * v",
        "v = torch.nn.functional.silu(v) * math.sqrt(2.0)".replace("math.sqrt(2.0)", "2.0**0.5"),
        "rows = [v[:, t] for t in range(v.shape[1])]\n    v = torch.stack(rows, dim=1)",
        "mask = torch.ones(4, 4, dtype=torch.bool, device=v.device).tril()",
        "out = torch.zeros_like(v)\n    out[:, 0] = v[:, 0]",
        "v = v.masked_fill(v < 0, float('-inf')).exp()",
        "first, second = v.split(1, dim=1)[0], v.unbind(1)[0]",
        "v = torch.nn.functional.gelu(v, approximate='tanh')",
    ],
)
def test_ordinary_definitions_pass(line: str) -> None:
    assert judged(in_reference(line)) == []


@pytest.mark.parametrize(
    "line",
    [
        "ones = tl.zeros([BLOCK_V], dtype=tl.float32) + 1.0",
        "top = tl.full((BLOCK_V,), float('-inf'), tl.float32)",
        "wide = columns.to(tl.int64) * tl.cast(T, tl.int64)",
        (
            "block = tl.make_block_ptr(base=v_ptr, shape=(T, V), strides=(H * V, 1), offsets=(0, 0), "
            "block_shape=(16, BLOCK_V), order=(1, 0))"
        ),
        "for i in tl.static_range(4):\n        columns = columns + i",
        "for i in tl.range(0, T, num_stages=2):\n        columns = columns + i",
        "if BLOCK_V == 32:\n        columns = columns * 1\n    elif V > 3 and not H < 2:\n        return",
        "SCALE: tl.constexpr = 1.44269504",
        "x = tl.load(v_ptr + columns, mask=mask, eviction_policy='evict_last').to(v_ptr.dtype.element_ty)",
        "tl.static_assert(BLOCK_V <= 128, 'the tile must fit')",
        "bits = tl.sum(columns.to(tl.float32)).to(tl.int32, bitcast=True)",
        "n = tl.cdiv(V, BLOCK_V) + triton.cdiv(V, BLOCK_V) + min(BLOCK_V, 16)",
        "tl.atomic_add(final_ptr + columns, 1.0, mask=mask, sem='relaxed')",
        "a, b = columns[:, None], columns[None, :]\n    c = tl.where(a > b, a, b).T",
    ],
)
def test_ordinary_triton_passes(line: str) -> None:
    assert judged(in_kernel(line)) == []


WAYS_TO_A_VALUE = ("bool({})", "int({})", "max({}, 0)", "1 if {} else 0", "not {}", "{} and 1", "range({})")


@pytest.mark.parametrize("way", WAYS_TO_A_VALUE)
@pytest.mark.parametrize("tensor", ["v", "output[0]", "v.transpose(0, 1)", "state[0]", "state[0][1:]"])
def test_no_way_to_a_tensors_value_passes(way: str, tensor: str) -> None:
    assert "POL-VALUE-READ" in rules(in_forward(f"value = {way.format(tensor)}"))


@pytest.mark.parametrize(
    "operator", ["+", "-", "*", "/", "//", "%", "**", "@", "<<", "&", "|", "^", "<", "==", "!="]
)
def test_no_operator_computes_on_tensors_in_a_wrapper(operator: str) -> None:
    assert rules(in_forward(f"value = v {operator} v")) == {"POL-ATEN"}
    assert rules(in_forward(f"value = 2 {operator} v")) == {"POL-ATEN"}


HIDDEN = (
    "os",
    "sys",
    "builtins",
    "open",
    "eval",
    "exec",
    "compile",
    "getattr",
    "globals",
    "vars",
    "type",
    "object",
    "id",
    "print",
    "input",
    "__import__",
    "__builtins__",
    "super",
    "isinstance",
    "dir",
    "hash",
    "breakpoint",
    "memoryview",
)


@pytest.mark.parametrize(("name", "place"), [*product(HIDDEN, [in_forward, in_reference, in_kernel])])
def test_no_name_from_outside_is_reachable(name: str, place) -> None:
    for line in (
        f"x = {name}",
        f"x = {name}(1)",
        f"x = {name}.x",
        f"x = {name}[0]",
        f"x = [{name} for y in (1,)]",
    ):
        assert rules(place(line)), line


ATTRIBUTES = (
    "__class__",
    "__dict__",
    "__globals__",
    "_version",
    "data",
    "grad_fn",
    "gi_frame",
    "handle",
    "fn",
    "real",
)


@pytest.mark.parametrize(("name", "place"), [*product(ATTRIBUTES, [in_forward, in_reference, in_kernel])])
def test_no_attribute_leads_out(name: str, place) -> None:
    for holder in ("v", "(1, 2)", "torch", "tl", "math", "forward", "_forward_kernel", "triton", "state"):
        assert rules(place(f"x = {holder}.{name}")), holder


@pytest.mark.parametrize("place", [in_forward, in_reference, in_kernel])
@pytest.mark.parametrize(
    "line",
    [
        "del B", "global x", "import math", "class C: pass", "def g(): pass", "x = yield",
        "x = (y := 1)", "x = {1: 2}",
        "x = {1, 2}", "x = f'{B}'", "x = 'text'", "x = b'1'", "x = 1j", "x = lambda a: a(1)", "x = {**{}}",
        "try:\n        pass\n    finally:\n        pass", "with B:\n        pass", "raise B",
        "x = (i for i in (1,))",
        "x = [i for i in (1,)].x", "x = (lambda: 1)()", "x.y = 1", "x[0].y = 1", "x = B if B else C",
        "async def g(): pass",
    ],
)  # fmt: skip
def test_statements_outside_of_the_subset_are_refused_everywhere(place, line: str) -> None:
    assert rules(place(line))


def test_a_comprehensions_variable_does_not_leak_a_built_in() -> None:
    found = judged(in_forward("parts = [open for open in (1, 2)]\n    x = open"))
    assert [finding.rule for finding in found] == ["POL-IO"]


def test_a_function_that_both_sides_reach_obeys_both() -> None:
    shared = "def _shared(n):\n    return {}\n\n\ndef reference("
    both = in_reference("n = _shared(3)").replace(
        "    output = torch.empty_like(v)\n", "    output = torch.empty_like(v)\n    m = _shared(3)\n"
    )
    assert judged(changed(both, "def reference(", shared.format("n**-0.5 * max(n, 2)"))) == []
    assert rules(changed(both, "def reference(", shared.format("torch.exp(n)"))) == {"POL-ATEN"}
    assert rules(changed(both, "def reference(", shared.format("triton.cdiv(n, 2)"))) == {"POL-ATTRIBUTE"}


def test_dead_code_is_refused_in_free_mechanisms() -> None:
    finding = only(changed(HONEST, "def reference(", "def _dead(x):\n    return x\n\n\ndef reference("))
    assert finding.rule == "POL-UNREACHED"


def test_a_shared_helper_hides_no_cast_from_the_reference() -> None:
    text = changed(
        in_reference("v = _cast(v)"),
        "def reference(",
        "def _cast(x):\n    return x.float()\n\n\ndef reference(",
    )
    assert only(text).rule == "POL-CAST"


def test_parallel_may_cast_where_reference_may_not() -> None:
    parallel = HONEST[HONEST.index("def reference(") : HONEST.index("@triton.jit")].replace(
        "def reference", "def parallel"
    )
    text = changed(
        HONEST,
        "def reference(",
        parallel.replace("    (S,) = state\n", "    (S,) = state\n    v = v.to(S.dtype)\n")
        + "def reference(",
    )
    assert judged(text) == []


def test_kernels_may_take_functions_of_the_file_to_combine_with() -> None:
    combine = "@triton.jit\ndef _add(a, b):\n    return a + b\n\n\n@triton.jit\ndef _forward_kernel("
    text = changed(
        in_kernel("total = tl.associative_scan(columns, 0, _add)"),
        "@triton.jit\ndef _forward_kernel(",
        combine,
    )
    assert judged(text) == []
    assert rules(in_kernel("total = tl.reduce(columns, 0, print)")) == {"POL-KERNEL-CALL"}


@pytest.mark.parametrize(
    "grid", ["(B * H, 1)", "lambda meta: (triton.cdiv(V, meta['BLOCK_V']), B * H)", "(B,)", "(1, B, H)"]
)
def test_grids_may_be_tuples_and_functions_of_meta(grid: str) -> None:
    place = '    grid = _grid(B * H, V, tuning["BLOCK_V"])\n    _forward_kernel'
    assert judged(changed(HONEST, place, f"    grid = {grid}\n    _forward_kernel")) == []


def test_tuning_may_be_unpacked_into_a_launch_and_nowhere_else() -> None:
    launch = 'v, initial, output, final, T, H, V, BLOCK_V=tuning["BLOCK_V"], num_warps=tuning["num_warps"]'
    assert judged(changed(HONEST, launch, "v, initial, output, final, T, H, V, **tuning")) == []
    assert rules(in_forward("x = torch.empty((1,), **tuning)")) == {"POL-SYNTAX"}
    assert rules(changed(HONEST, launch, "v, initial, output, final, T, H, V, **v")) >= {"POL-SYNTAX"}
