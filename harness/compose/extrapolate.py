"""From a composition found small to a model built large: more layers, then widths, then checked counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from harness.compose.composition import Composition, parse
from harness.compose.counts import Counts, count, needs_measured
from harness.compose.model import ComposedModel
from harness.compose.primitives.alphabet import Alphabet
from harness.compose.shape import ModelShape
from harness.compose.sizes import LLAMA, Size, solve
from harness.errors import HarnessError, WrongUsage

Method = Literal["stretch", "stack", "given"]
CONTEXT = 8192
"""Tokens at which state and operations are counted: the context that large models are trained with."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A model to build: `composition` is as deep as the model, `method` how it came to be so deep.

    Above 100M parameters it is made only once a device has timed every token of `needs_measured`.
    """

    name: str
    composition: Composition
    shape: ModelShape
    counts: Counts
    method: Method
    needs_measured: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "composition": str(self.composition)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Configuration:
        """What `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            **{
                **values,
                "composition": parse(values["composition"]),
                "shape": ModelShape(**values["shape"]),
                "counts": Counts(**values["counts"]),
                "needs_measured": tuple(values["needs_measured"]),
            }
        )


def stretch(composition: Composition, layers: int) -> Composition:
    """Every run longer in proportion, `layers` in all: whole parts first, then the largest remainders,
    earlier runs before later ones. Raises WrongUsage for fewer layers than there are.
    """
    _expect_deeper(composition, layers)
    runs, old = composition.runs, len(composition)
    lengths = [many * layers // old for _, many in runs]
    remainders = [many * layers % old for _, many in runs]
    ranked = sorted(range(len(runs)), key=lambda run: -remainders[run])
    for run in ranked[: layers - sum(lengths)]:
        lengths[run] += 1
    tokens = (token for token, _ in runs)
    return Composition.from_runs(tuple(zip(tokens, lengths, strict=True)))


def stack(composition: Composition, layers: int) -> Composition:
    """The whole composition again and again. Raises WrongUsage where that does not give `layers`."""
    _expect_deeper(composition, layers)
    if layers % len(composition):
        raise WrongUsage(
            f"stack: expected a multiple of the composition's {len(composition)} layers, got {layers}."
        )
    return Composition(composition.tokens * (layers // len(composition)))


def depth(size: Size, searched: int) -> int:
    """Layers of a model of this size out of a composition of `searched`: the multiple nearest to the size's
    own, the lower of two, so that stretched and stacked models are equally deep.
    """
    return max(1, -((searched - 2 * size.layers) // (2 * searched))) * searched


def configure(
    composition: Composition,
    alphabet: Alphabet,
    size: Size,
    *,
    method: Method,
    name: str | None = None,
    like: ModelShape = LLAMA,
) -> Configuration:
    """The configuration of this size; "given" keeps the layers as they are. Its name is made of
    all this unless given. Raises WrongUsage where no shape comes near the size.
    """
    deep = composition
    if method != "given":
        extend = stretch if method == "stretch" else stack
        deep = extend(composition, depth(size, len(composition)))
    shape = solve(deep, alphabet, size.parameters, like=like)
    digest = hashlib.sha256(str(composition).encode()).hexdigest()[:8]
    return described(name or f"{size.name}-{method}-{digest}", deep, alphabet, shape, method)


def described(
    name: str, composition: Composition, alphabet: Alphabet, shape: ModelShape, method: Method
) -> Configuration:
    """The configuration of this composition at this shape, counted."""
    return Configuration(
        name=name,
        composition=composition,
        shape=shape,
        counts=count(composition, alphabet, shape, length=CONTEXT),
        method=method,
        needs_measured=needs_measured(composition, alphabet),
    )


def check_builds(configuration: Configuration, alphabet: Alphabet) -> int:
    """Build the model without storage, and return its number of parameters.

    Raises HarnessError where it differs from what was counted.
    """
    with torch.device("meta"):
        model = ComposedModel(configuration.composition, alphabet, configuration.shape)
    built = int(sum(weight.numel() for weight in model.parameters()))
    if built != configuration.counts.parameters:
        raise HarnessError(
            f"{configuration.name}: expected {configuration.counts.parameters:,} parameters as counted, got "
            f"{built:,}. The configuration is of another version, or was edited: configure it again."
        )
    return built


def _expect_deeper(composition: Composition, layers: int) -> None:
    if layers < len(composition):
        raise WrongUsage(f"layers: expected at least the composition's {len(composition)}, got {layers}.")
