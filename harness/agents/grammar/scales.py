"""The contents of the scale slot: a constant times a power of K, the size of a key."""

from __future__ import annotations

from dataclasses import dataclass

from harness.agents.grammar.trees import Json


@dataclass(frozen=True, kw_only=True)
class Scale:
    """factor * K ** power."""

    factor: float = 1.0
    power: float = 0.0


def describe_scale(scale: Scale) -> str:
    """E.g. `K^-0.5`, `0.1 * K^-1` or `1`."""
    power = f"K^{scale.power:g}" if scale.power != 1.0 else "K"
    if scale.power == 0.0:
        return f"{scale.factor:g}"
    return power if scale.factor == 1.0 else f"{scale.factor:g} * {power}"


def scale_body(scale: Scale) -> str:
    """The body of `_scale(K)`, plain Python, returning a float."""
    if scale.power == 0.0:
        return f"return {scale.factor!r}"
    if scale.power == -1.0:
        return f"return {scale.factor!r} / K"
    power = f"K**{scale.power!r}"
    return f"return {power}" if scale.factor == 1.0 else f"return {scale.factor!r} * {power}"


def scale_to_json(scale: Scale) -> Json:
    """[factor, power]."""
    return [scale.factor, scale.power]


def scale_from_json(data: Json) -> Scale:
    """The scale that `scale_to_json` wrote. Raises ValueError for anything else."""
    if isinstance(data, list) and len(data) == 2:
        factor, power = data
        if isinstance(factor, int | float) and isinstance(power, int | float):
            return Scale(factor=float(factor), power=float(power))
    raise ValueError(f"expected [factor, power], got {data!r}")
