"""What a proxy evaluation is asked, and what it answers: plain values, equal on every engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Split = Literal["search", "selection", "final"]
"""Disjoint data: proposals are compared on the first, winners re-tested on the second, the third once."""

RECIPE = 1
"""Goes up when training changes in a way that changes results; part of every cache key."""


@dataclass(frozen=True, kw_only=True)
class ProxyRequest:
    """Train `tokens` on `task` at `preset` for `steps` steps from `seed`, and evaluate on `split`.

    The answer is a function of these values alone. `identities` maps each distinct token to what its layer's
    results hang on (a mechanism's source hash). `seed` pairs runs: the same seed gives every composition the
    same data in the same order.
    """

    tokens: tuple[str, ...]
    identities: Mapping[str, str]
    task: str
    preset: str
    seed: int
    steps: int
    split: Split = "search"
    dtype: Literal["float32", "bfloat16"] = "float32"

    def key(self) -> str:
        """SHA-256 over every value and the recipe's version, in hex."""
        values = {**asdict(self), "identities": dict(self.identities), "recipe": RECIPE}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """After `step` steps: mean training loss since the point before (nats), and the score on the split."""

    step: int
    loss: float
    score: float


@dataclass(frozen=True, kw_only=True)
class ProxyResult:
    """`score` is the mean accuracy (MAD; 0 to 1) or minus bits per byte (text), the higher the better.

    `diverged` says that a loss exploded, or that it or a gradient was not finite; `score` is then that of
    chance. `cpu_seconds` is a measurement: two equal evaluations may differ in it, so it does not take part
    in comparisons.
    """

    score: float
    loss: float
    steps: int
    diverged: bool
    curve: tuple[CurvePoint, ...]
    cpu_seconds: float = field(compare=False)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ProxyResult:
        """What `to_json` wrote. Raises KeyError or TypeError for anything else."""
        points = tuple(CurvePoint(**point) for point in values["curve"])
        return cls(**{**values, "curve": points})
