"""The named functions of trees: a torch form, a stable Triton form, and a derivative that is a tree again.

Forms are expressions over `u`. Triton has no tanh, log1p or softplus, so they are spelled with exp and log
in ways that neither overflow nor cancel: log1p by Goldberg's correction (What Every Computer Scientist
Should Know About Floating-Point Arithmetic, 1991, theorem 4), tanh by its series near zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.agents.grammar.trees import (
    ONE,
    Tree,
    add,
    apply,
    constant,
    differentiate,
    multiply,
    negate,
)


@dataclass(frozen=True, kw_only=True)
class Function:
    """A named function of one real number.

    `triton` may use the names that `steps` assign before it. `derivative` maps the tree of the argument to
    the tree of the derivative there.
    """

    name: str
    torch: str
    triton: str
    steps: tuple[tuple[str, str], ...] = ()
    derivative: Callable[[Tree], Tree]


def _tanh_derivative(u: Tree) -> Tree:
    """1 - tanh^2 without its cancellation where tanh is near one."""
    twice = multiply(constant(2.0), u)
    return multiply(constant(4.0), multiply(apply("sigmoid", twice), apply("sigmoid", negate(twice))))


def _sigmoid_derivative(u: Tree) -> Tree:
    return multiply(apply("sigmoid", u), apply("sigmoid", negate(u)))


def _silu_derivative(u: Tree) -> Tree:
    return multiply(apply("sigmoid", u), add(ONE, multiply(u, apply("sigmoid", negate(u)))))


def _gelu_derivative(u: Tree) -> Tree:
    bell = apply("exp", multiply(constant(-0.5), apply("square", u)))
    cumulative = add(
        constant(0.5), multiply(constant(0.5), apply("erf", multiply(constant(math.sqrt(0.5)), u)))
    )
    return add(cumulative, multiply(constant(1.0 / math.sqrt(2.0 * math.pi)), multiply(u, bell)))


def _erf_derivative(u: Tree) -> Tree:
    return multiply(constant(2.0 / math.sqrt(math.pi)), apply("exp", negate(apply("square", u))))


def _sqrt_abs_derivative(u: Tree) -> Tree:
    return multiply(multiply(constant(0.5), apply("sign", u)), apply("rsqrt", apply("abs", u)))


def _flat(_u: Tree) -> Tree:
    """Zero almost everywhere: what autograd gives for a step."""
    return constant(0.0)


_TANH_STEPS = (
    ("w", "u * u"),
    ("series", "1.0 - w * (0.3333333333 - w * (0.1333333333 - w * (0.05396825397 - w * 0.02186948854)))"),
)
_TANH = "tl.where(tl.abs(u) < 0.25, u * series, 2.0 * tl.sigmoid(2.0 * u) - 1.0)"
_LOG1P_STEPS = (("w", "1.0 + u"), ("rest", "tl.where(w == 1.0, 1.0, w - 1.0)"))
_LOG1P = "tl.where(w == 1.0, u, tl.log(w) * (u / rest))"

_TABLE: tuple[Function, ...] = (
    Function(name="exp", torch="torch.exp(u)", triton="tl.exp(u)", derivative=lambda u: apply("exp", u)),
    Function(
        name="log1p",
        torch="torch.log1p(u)",
        triton=_LOG1P,
        steps=_LOG1P_STEPS,
        derivative=lambda u: apply("reciprocal", add(ONE, u)),
    ),
    Function(
        name="softplus",
        torch="torch.nn.functional.softplus(u)",
        triton="tl.maximum(u, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(u)))",
        derivative=lambda u: apply("sigmoid", u),
    ),
    Function(
        name="sigmoid", torch="torch.sigmoid(u)", triton="tl.sigmoid(u)", derivative=_sigmoid_derivative
    ),
    Function(
        name="tanh", torch="torch.tanh(u)", triton=_TANH, steps=_TANH_STEPS, derivative=_tanh_derivative
    ),
    Function(
        name="relu", torch="torch.relu(u)", triton="tl.maximum(u, 0.0)", derivative=lambda u: apply("step", u)
    ),
    Function(
        name="square",
        torch="torch.square(u)",
        triton="u * u",
        derivative=lambda u: multiply(constant(2.0), u),
    ),
    Function(name="abs", torch="torch.abs(u)", triton="tl.abs(u)", derivative=lambda u: apply("sign", u)),
    Function(
        name="sqrt_abs",
        torch="torch.sqrt(torch.abs(u))",
        triton="tl.sqrt(tl.abs(u))",
        derivative=_sqrt_abs_derivative,
    ),
    Function(
        name="silu",
        torch="torch.nn.functional.silu(u)",
        triton="u * tl.sigmoid(u)",
        derivative=_silu_derivative,
    ),
    Function(
        name="gelu",
        torch="torch.nn.functional.gelu(u)",
        triton="0.5 * u * (1.0 + tl.erf(0.7071067811865476 * u))",
        derivative=_gelu_derivative,
    ),
    Function(
        name="elu_plus_one",
        torch="torch.nn.functional.elu(u) + 1.0",
        triton="tl.maximum(u, 0.0) + tl.exp(tl.minimum(u, 0.0))",
        derivative=lambda u: apply("exp_negative", u),
    ),
    Function(
        name="exp_negative",
        torch="torch.exp(torch.clamp(u, max=0.0))",
        triton="tl.exp(tl.minimum(u, 0.0))",
        derivative=lambda u: multiply(apply("exp_negative", u), apply("step", negate(u))),
    ),
    Function(name="erf", torch="torch.erf(u)", triton="tl.erf(u)", derivative=_erf_derivative),
    Function(
        name="reciprocal",
        torch="torch.reciprocal(u)",
        triton="1.0 / u",
        derivative=lambda u: negate(apply("square", apply("reciprocal", u))),
    ),
    Function(
        name="rsqrt",
        torch="torch.rsqrt(u)",
        triton="tl.rsqrt(u)",
        derivative=lambda u: multiply(constant(-0.5), multiply(apply("rsqrt", u), apply("reciprocal", u))),
    ),
    Function(
        name="sign",
        torch="torch.sign(u)",
        triton="tl.where(u > 0.0, 1.0, tl.where(u < 0.0, -1.0, 0.0))",
        derivative=_flat,
    ),
    Function(
        name="step",
        torch="torch.where(u > 0.0, torch.ones_like(u), torch.zeros_like(u))",
        triton="tl.where(u > 0.0, 1.0, 0.0)",
        derivative=_flat,
    ),
)

FUNCTIONS: Mapping[str, Function] = {function.name: function for function in _TABLE}

GROWN: tuple[str, ...] = (
    "exp",
    "log1p",
    "softplus",
    "sigmoid",
    "tanh",
    "relu",
    "square",
    "abs",
    "sqrt_abs",
    "silu",
    "gelu",
    "elu_plus_one",
)
"""The functions that the agent composes with; the rest appear in derivatives and row-wise forms."""


def derivative(tree: Tree) -> Tree:
    """d tree / dx as a tree."""
    return differentiate(tree, lambda name, u: FUNCTIONS[name].derivative(u))
