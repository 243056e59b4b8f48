"""Row-wise slot contents: y = x * h(s), where s is the sum or the largest of e(x) over the row.

With e = square and h = rsqrt this is L2 normalisation, with e = abs and h = reciprocal L1. Any two trees
will do as e and h; the gradient follows from the chain rule,

    dx = dy h(s) + m h'(s) w e'(x),    m = sum(dy x),    w = ds / de(x),

where w is 1 for a sum, and for the largest shares 1 among the elements that reach it, as autograd's amax
does.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Literal, cast

from harness.agents.grammar.functions import derivative
from harness.agents.grammar.printing import Printer
from harness.agents.grammar.trees import (
    ONE,
    Apply,
    Json,
    Sum,
    Tree,
    X,
    describe,
    from_json,
    functions_of,
    to_json,
)

Statistic = Literal["none", "sum", "max"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """x * outer(statistic of inner(x)) over the last axis (..., K); `none` is the identity.

    `inner` is a tree in an element x of the row, `outer` one in the statistic.
    """

    statistic: Statistic
    inner: Tree = X
    outer: Tree = ONE


IDENTITY = Row(statistic="none")


def describe_row(row: Row) -> str:
    """E.g. `x / sqrt(sum(x^2) + 1e-06)`."""
    if row.statistic == "none":
        return "x"
    statistic = f"{row.statistic}({describe(row.inner)})"
    match row.outer:
        case Apply(function="reciprocal", argument=argument):
            return f"x / ({describe(argument, statistic)})"
        case Apply(function="rsqrt", argument=argument):
            return f"x / sqrt({describe(argument, statistic)})"
        case Sum():
            return f"x * ({describe(row.outer, statistic)})"
        case _:
            return f"x * {describe(row.outer, statistic)}"


def row_functions(row: Row) -> tuple[str, ...]:
    """The named functions in it, sorted, without repeats."""
    return tuple(sorted({*functions_of(row.inner), *functions_of(row.outer)}))


def row_to_json(row: Row) -> Json:
    """[statistic, inner, outer]."""
    return [row.statistic, to_json(row.inner), to_json(row.outer)]


def row_from_json(data: Json) -> Row:
    """The row that `row_to_json` wrote. Raises ValueError for anything else."""
    if not (isinstance(data, list) and len(data) == 3 and data[0] in ("none", "sum", "max")):
        raise ValueError(f"expected [none | sum | max, inner, outer], got {data!r}")
    statistic = cast("Statistic", data[0])
    return Row(statistic=statistic, inner=from_json(data[1]), outer=from_json(data[2]))


def torch_row_body(row: Row) -> str:
    """The body of `_key_norm_torch(x)`: over the last axis of a tensor (..., K)."""
    if row.statistic == "none":
        return "return x"
    printer = Printer("torch")
    reduce = "torch.sum" if row.statistic == "sum" else "torch.amax"
    printer.bind("s", f"{reduce}({printer.expression(row.inner)}, dim=-1, keepdim=True)")
    factor = printer.expression(row.outer, variable="s")
    return "\n".join((*printer.lines, f"return x * {_grouped(factor)}"))


def triton_row_body(row: Row) -> str:
    """The body of `_key_norm(x)`: over the columns of a float32 tile (rows, BLOCK_K) whose padding is
    zero.
    """
    if row.statistic == "none":
        return "return x"
    printer = Printer("triton")
    printer.bind("s", _statistic(row, printer.expression(row.inner)))
    factor = printer.expression(row.outer, variable="s")
    return "\n".join((*printer.lines, f"return x * {_grouped(factor)}"))


def triton_row_grad_body(row: Row) -> str:
    """The body of `_key_norm_grad(x, dy)`: the gradient by x (rows, BLOCK_K), given that by y."""
    if row.statistic == "none":
        return "return dy"
    printer = Printer("triton")
    inner_slope, outer_slope = derivative(row.inner), derivative(row.outer)
    inner = printer.expression(row.inner, shared=(inner_slope,))
    if row.statistic == "max":
        element = printer.fresh()
        printer.bind(element, inner)
        inner = element
    printer.bind("s", _statistic(row, inner))
    total = printer.fresh()
    printer.bind(total, "tl.sum(dy * x, axis=1)[:, None]")
    factor = printer.expression(row.outer, variable="s", shared=(outer_slope,))
    slope = printer.expression(outer_slope, variable="s")
    through = f"{total} * {_grouped(slope)}"
    if row.statistic == "max":
        hits = printer.fresh()
        printer.bind(hits, f"tl.where({inner} == s, 1.0, 0.0)")
        through += f" * ({hits} / tl.sum({hits}, axis=1)[:, None])"
    through += f" * {_grouped(printer.expression(inner_slope))}"
    return "\n".join((*printer.lines, f"return dy * {_grouped(factor)} + {through}"))


def _statistic(row: Row, element: str) -> str:
    reduce = "tl.sum" if row.statistic == "sum" else "tl.max"
    return f"{reduce}({element}, axis=1)[:, None]"


def _grouped(text: str) -> str:
    """`text` as an operand of a product: in brackets where it is a sum, a difference, a product or a
    negation.
    """
    node = ast.parse(text, mode="eval").body
    return f"({text})" if isinstance(node, ast.BinOp | ast.UnaryOp) else text
