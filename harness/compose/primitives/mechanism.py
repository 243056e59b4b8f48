"""An admitted mechanism as a primitive: its contract read off its SPEC, its layer built by `MixerModule`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import nn

from harness.compose.primitives.work import count_work, extend_count
from harness.compose.shape import ModelShape
from harness.errors import HarnessError
from harness.mechanism import BoundMechanism, MechanismRefused, MixerModule, load_mechanism
from harness.mechanism.load import MECHANISM_FILE, VERDICT_FILE
from harness.mechanism.module import to_domain
from verify.judge.verdict import Verdict
from verify.rules import RULES_VERSION
from verify.source.contract import BATCH, HEADS, TIME, Spec, TensorSpec
from verify.source.identity import short_id

_HEAD_FEATURES = ("K", "V", "D")
_WIDE = 4
"""Bytes of a float32 state, whatever the dtype of the model."""
_SMALL = ModelShape(d_model=8, heads=2, kv_heads=1, head_dim=4, ffn=1, vocab=1, ssm_head_dim=1)


class PrimitiveRefused(HarnessError):
    """A mechanism that must not be composed, or not at this size. `rule` is the id of the reason. Exit 1."""

    exit_code = 1

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule

    def __reduce__(self) -> tuple[type[PrimitiveRefused], tuple[str, str]]:
        """How it comes out of a worker: exceptions are copied by their message alone otherwise."""
        return type(self), (self.rule, str(self))


class MechanismLayer(nn.Module):
    """(B, T, d_model) -> (B, T, d_model): a mechanism over a whole sequence, from the empty state."""

    def __init__(self, bound: BoundMechanism, shape: ModelShape) -> None:
        super().__init__()
        sizes = mechanism_sizes(bound.spec, shape)
        self.mechanism = MixerModule(bound, shape.d_model, heads=shape.heads, sizes=sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.mechanism(x)
        return y


@dataclass(frozen=True, kw_only=True)
class MechanismPrimitive:
    """The primitive of one candidate; `evidence` is how its throughput was shown: "model" or "device:..."."""

    bound: BoundMechanism
    evidence: str

    @property
    def token(self) -> str:
        return short_id(self.identity)

    @property
    def identity(self) -> str:
        return self.bound.mechanism.source_hash

    @property
    def family(self) -> str:
        """The folder that its own lies in."""
        return Path(self.bound.path).parents[1].name

    @property
    def causal(self) -> bool:
        return self.bound.spec.causal

    @property
    def needs_measured(self) -> bool:
        return not self.evidence.startswith("device:")

    def build(self, shape: ModelShape) -> nn.Module:
        return MechanismLayer(self.bound, shape)

    def parameters(self, shape: ModelShape) -> int:
        """Projections and gate biases of its inputs, its params, the norm of its output, and `out`."""
        spec, sizes = self.bound.spec, _all_sizes(self.bound.spec, shape)
        inputs = sum(_features(entry, sizes) * (shape.d_model + _has_bias(entry)) for entry in spec.inputs)
        params = sum(math.prod(entry.shape(sizes)) for entry in spec.params)
        return inputs + params + sizes[spec.output.dims[-1]] + _features(spec.output, sizes) * shape.d_model

    def state_bytes(self, shape: ModelShape, length: int, *, bytes_per_value: int = 2) -> int:
        """Its SPEC's state; without one, of every token those inputs that reach a later output."""
        spec, sizes = self.bound.spec, _all_sizes(self.bound.spec, shape)
        kept: tuple[tuple[TensorSpec, int], ...]
        if spec.state:
            kept = tuple((entry, math.prod(entry.shape({**sizes, BATCH: 1}))) for entry in spec.state)
        else:
            kept = tuple(
                (entry, length * _features(entry, sizes))
                for entry in spec.inputs
                if entry.name in self._reaching
            )
        return sum(count * (bytes_per_value if entry.dtype == "io" else _WIDE) for entry, count in kept)

    def flops(self, shape: ModelShape, length: int) -> int:
        """Projections, and all operations of its PyTorch form; elementwise ones too, for they may be all."""
        spec, sizes = self.bound.spec, _all_sizes(self.bound.spec, shape)
        features = sum(_features(entry, sizes) for entry in (*spec.inputs, spec.output))
        return 2 * length * shape.d_model * features + self._form_operations({**sizes, TIME: length})

    @cached_property
    def _reaching(self) -> frozenset[str]:
        return _inputs_that_reach_later(self.bound)

    @cached_property
    def _counted(self) -> dict[tuple[int, ...], int]:
        return {}

    def _form_operations(self, sizes: Mapping[str, int]) -> int:
        """Operations of the PyTorch form on one sequence."""
        key = tuple(sizes[name] for name in sorted(sizes))
        if key not in self._counted:
            self._counted[key] = extend_count(
                lambda length: self._count({**sizes, TIME: length}), sizes[TIME]
            )
        return self._counted[key]

    def _count(self, sizes: Mapping[str, int]) -> int:
        arguments, state = (
            [torch.empty(entry.shape({**sizes, BATCH: 1}), device="meta") for entry in entries]
            for entries in (self.bound.spec.arguments, self.bound.spec.state)
        )
        return count_work(lambda: self.bound.eager(arguments, state, torch.float32))


def load_primitive(folder: Path) -> MechanismPrimitive:
    """The primitive of an admitted, causal candidate under the rules of today. Raises PrimitiveRefused.

    Checking a source takes half a second, so what was loaded is kept for as long as its files are the same.
    """
    try:
        files = [(folder / name).read_bytes() for name in (MECHANISM_FILE, VERDICT_FILE)]
    except OSError as error:
        raise PrimitiveRefused(
            "ADM-NOT-ADMITTED",
            f"{folder}: ADM-NOT-ADMITTED expected a mechanism with its verdict, got {error.strerror}.",
        ) from None
    return _loaded(folder, *files)


@lru_cache(maxsize=128)
def _loaded(folder: Path, _source: bytes, verdict_bytes: bytes) -> MechanismPrimitive:
    verdict = _verdict(folder, verdict_bytes)
    try:
        bound = load_mechanism(folder)
    except MechanismRefused as refused:
        raise PrimitiveRefused(refused.rule, str(refused)) from None
    if not bound.spec.causal:
        raise PrimitiveRefused(
            "ADM-CAUSAL",
            f"{folder}: ADM-CAUSAL expected a causal mechanism, got a bidirectional one. Compositions are "
            "causal models; leave it out.",
        )
    return MechanismPrimitive(bound=bound, evidence=verdict.evidence.get("THR", "none"))


def _verdict(folder: Path, data: bytes) -> Verdict:
    """A verdict that admits, under the rules of today: asked before the source, which takes longer."""
    try:
        verdict = Verdict.from_bytes(data)
    except ValueError as error:
        raise PrimitiveRefused("ADM-NOT-ADMITTED", f"{folder}: ADM-NOT-ADMITTED {error}") from None
    if verdict.rules != RULES_VERSION:
        raise PrimitiveRefused(
            "ADM-VERDICT",
            f"{folder}: ADM-VERDICT expected a verdict under rules {RULES_VERSION}, got one under "
            f"{verdict.rules}. Judge it again: `python -m verify refresh`.",
        )
    if verdict.admission != "admitted":
        raise PrimitiveRefused(
            "ADM-NOT-ADMITTED",
            f"{folder}: ADM-NOT-ADMITTED expected an admitted mechanism, got {verdict.admission} at depth "
            f"{verdict.depth}. Its verdict.json says why.",
        )
    return verdict


def mechanism_sizes(spec: Spec, shape: ModelShape) -> Mapping[str, int]:
    """Sizes of a SPEC's free dimensions but B, T and H: K, V and D are `head_dim`; of two names that make H
    (G * R), the one that inputs have is `kv_heads`, the other how many heads share one.
    """
    sizes = {name: shape.head_dim for name in spec.free_dims() if name in _HEAD_FEATURES}
    parts = spec.head_dims()
    shown = [name for name in parts if any(name in entry.dims for entry in spec.inputs)]
    if len(parts) == 2 and len(shown) == 1:
        (shared,) = (name for name in parts if name not in shown)
        sizes |= {shown[0]: shape.kv_heads, shared: shape.heads // shape.kv_heads}
    return sizes


def _all_sizes(spec: Spec, shape: ModelShape) -> Mapping[str, int]:
    """Every dimension but B and T. Raises ValueError where the shape does not say one."""
    given = {**mechanism_sizes(spec, shape), HEADS: shape.heads, BATCH: 1, TIME: 1}
    full = spec.resolve({name: size for name, size in given.items() if name in spec.free_dims()})
    return {name: size for name, size in full.items() if name not in (BATCH, TIME)}


def _features(entry: TensorSpec, sizes: Mapping[str, int]) -> int:
    """Values a token of an input or the output."""
    return math.prod(sizes[dim] for dim in entry.dims[2:])


def _has_bias(entry: TensorSpec) -> bool:
    return entry.domain not in ("normal", "unit_norm")


def _inputs_that_reach_later(bound: BoundMechanism) -> frozenset[str]:
    """Names of inputs whose value at the first token has a gradient from the second token's output: what a
    mechanism without a state must keep of every token. Queries do not.
    """
    spec, chance = bound.spec, torch.Generator().manual_seed(0)
    sizes = {**_all_sizes(spec, _SMALL), BATCH: 1, TIME: 2}
    arguments = [
        to_domain(torch.randn(entry.shape(sizes), generator=chance), entry.domain).requires_grad_()
        for entry in spec.arguments
    ]
    output, _ = bound(*arguments, backend="parallel")
    inputs = arguments[: len(spec.inputs)]
    gradients = torch.autograd.grad(output[:, 1].sum(), inputs, allow_unused=True)
    return frozenset(
        entry.name
        for entry, gradient in zip(spec.inputs, gradients, strict=True)
        if gradient is not None and bool(gradient[:, 0].count_nonzero())
    )
