"""The contents of the score_mod slot: shape(score) - fade(distance) * slope(head).

`shape` and `fade` are any trees, in the score and in the distance; a slope is a positive number for each
head. The derivative by the score is the derivative of `shape`, so every form follows from the same trees.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from harness.agents.grammar.functions import derivative
from harness.agents.grammar.printing import Dialect, Printer, triton_body
from harness.agents.grammar.trees import Json, Tree, X, describe, from_json, functions_of, to_json

Slope = Literal["none", "even", "geometric", "ladder"]

_SLOPES: Mapping[Slope, str] = {
    "even": "{rate}",
    "geometric": "{module}.exp2(-{rate} * (head + 1.0) / heads)",
    "ladder": "{rate} * (head + 1.0) / heads",
}
"""A slope's text; `none` is no fading at all."""

_ARGUMENTS = ("score", "distance", "head", "heads")


@dataclass(frozen=True, kw_only=True)
class ScoreMod:
    """shape(score) - fade(distance) * slope.

    For head h of H, counted from 0, the slope is `rate` (even), 2^(-rate (h + 1) / H) (geometric) or
    rate (h + 1) / H (ladder).
    """

    shape: Tree = X
    fade: Tree = X
    slope: Slope = "none"
    rate: float = 1.0


def describe_score_mod(content: ScoreMod) -> str:
    """E.g. `score - distance * 2^(-8 (h + 1) / H)`."""
    shape = describe(content.shape, "score")
    if content.slope == "none":
        return shape
    steps = f"{content.rate:g} (h + 1) / H"
    slope = {"even": f"{content.rate:g}", "geometric": f"2^(-{steps})", "ladder": steps}[content.slope]
    return f"{shape} - ({describe(content.fade, 'distance')}) * {slope}"


def torch_score_mod_body(content: ScoreMod) -> str:
    """The body of `_score_mod_torch`: on scores (B, H, T, T), distances (T, T), heads (H, 1, 1)."""
    return _body(content, "torch")


def triton_score_mod_body(content: ScoreMod) -> str:
    """The body of `_score_mod`: on float32 tiles of scores and distances, and two numbers."""
    return _body(content, "triton")


def triton_score_mod_grad_body(content: ScoreMod) -> str:
    """The body of `_score_mod_grad`: the derivative by the score."""
    return triton_body(derivative(content.shape), "score")


def score_mod_functions(content: ScoreMod) -> tuple[str, ...]:
    """The named functions in it, sorted, without repeats."""
    fade = () if content.slope == "none" else functions_of(content.fade)
    return tuple(sorted({*functions_of(content.shape), *fade}))


def score_mod_to_json(content: ScoreMod) -> Json:
    """[slope, rate, shape, fade]."""
    return [content.slope, content.rate, to_json(content.shape), to_json(content.fade)]


def score_mod_from_json(data: Json) -> ScoreMod:
    """The contents that `score_mod_to_json` wrote. Raises ValueError for anything else."""
    if isinstance(data, list) and len(data) == 4:
        slope, rate, shape, fade = data
        if slope in ("none", *_SLOPES) and isinstance(rate, int | float):
            return ScoreMod(shape=from_json(shape), fade=from_json(fade), slope=slope, rate=float(rate))
    raise ValueError(f"expected [none | {' | '.join(_SLOPES)}, rate, shape, fade], got {data!r}")


def _body(content: ScoreMod, dialect: Dialect) -> str:
    printer = Printer(dialect, taken=_ARGUMENTS)
    result = printer.expression(content.shape, variable="score")
    if content.slope != "none":
        fade = printer.expression(content.fade, variable="distance")
        module = "torch" if dialect == "torch" else "tl"
        slope = _SLOPES[content.slope].format(rate=repr(content.rate), module=module)
        result = ast.unparse(ast.parse(f"({result}) - ({fade}) * ({slope})", mode="eval"))
    return "\n".join((*printer.lines, f"return {result}"))
