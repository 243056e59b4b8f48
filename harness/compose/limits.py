"""Which compositions are too large to be evaluated at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.compose.composition import Composition
from harness.compose.shape import ModelShape
from harness.errors import WrongUsage


class Constraint(Protocol):
    """Says of a composition why it is not to be evaluated: one sentence, or None where it may be.

    A function of the composition alone.
    """

    def __call__(self, composition: Composition, /) -> str | None: ...


class Counted(Protocol):
    """What a limit needs of a primitive; `primitives.contract.Primitive` has it."""

    def parameters(self, shape: ModelShape) -> int: ...

    def state_bytes(self, shape: ModelShape, length: int, *, bytes_per_value: int = 2) -> int: ...

    def flops(self, shape: ModelShape, length: int) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """At most so much over all layers; None where there is no limit. Embedding and norms are left out.

    state_bytes: of one sequence after `length` tokens. flops: of one forward pass over `length` tokens.
    """

    parameters: int | None = None
    state_bytes: int | None = None
    flops: int | None = None
    length: int = 1024

    def __post_init__(self) -> None:
        for name in ("parameters", "state_bytes", "flops", "length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise WrongUsage(f"{name}: expected a limit of one or more, got {value}.")


def anything(composition: Composition, /) -> str | None:  # noqa: ARG001  a Constraint that refuses nothing
    """No limit."""
    return None


def within(limits: Limits, primitives: Mapping[str, Counted], shape: ModelShape) -> Constraint:
    """The constraint that sums the primitives' counts at `shape`, each counted once."""
    costs = {token: _costs(primitive, shape, limits.length) for token, primitive in primitives.items()}
    allowed = {name: getattr(limits, name) for name in ("parameters", "state_bytes", "flops")}

    def check(composition: Composition, /) -> str | None:
        for name, most in allowed.items():
            total = sum(costs[token][name] for token in composition.tokens)
            if most is not None and total > most:
                return f"{name}: expected at most {most}, got {total}"
        return None

    return check


def _costs(primitive: Counted, shape: ModelShape, length: int) -> dict[str, int]:
    return {
        "parameters": primitive.parameters(shape),
        "state_bytes": primitive.state_bytes(shape, length),
        "flops": primitive.flops(shape, length),
    }
