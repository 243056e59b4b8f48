"""A mechanism as a layer of a network, built from its SPEC alone: (B, T, d_model) -> (B, T, d_model).

Every input is a projection of the layer's input into that input's domain, every param a learned tensor
mapped into its domain; the output is normalised per head and projected back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from harness.mechanism.autograd import Backend, BoundMechanism, State, zero_state
from verify.source.contract import BATCH, HEADS, STANDARD_DIMS, TIME, Spec, TensorSpec, describe

SLOWEST_DECAY = 64.0
"""Decays start with time constants from 1 to this many tokens, spread evenly on a log scale."""
NORM_EPS = 1e-5


def to_domain(raw: torch.Tensor, domain: str) -> torch.Tensor:
    """Map unconstrained float32 values elementwise (unit_norm: over the last axis) into a domain of the SPEC.

    log_decay: -softplus (natural log, <= 0); unit_interval: sigmoid; positive: softplus; unit_norm: L2;
    normal and angle (radians): unchanged.
    """
    match domain:
        case "normal" | "angle":
            return raw
        case "unit_norm":
            return F.normalize(raw, dim=-1, eps=1e-6)
        case "log_decay":
            return -F.softplus(raw)
        case "unit_interval":
            return torch.sigmoid(raw)
        case "positive":
            return F.softplus(raw)
    raise ValueError(f"domain {domain}: expected one with a projection (all but index)")


def _initial_raw(shape: Sequence[int], domain: str) -> torch.Tensor:
    """Where the raw values of a domain start: decays over many time scales, everything else around zero."""
    if domain == "log_decay":
        tau = torch.exp(torch.rand(tuple(shape)) * math.log(SLOWEST_DECAY))
        return torch.log(torch.expm1(1.0 / tau))  # -softplus of this is -1 / tau
    if domain in ("normal", "unit_norm"):
        return torch.randn(tuple(shape))
    if domain == "angle":
        return (torch.rand(tuple(shape)) * 2.0 - 1.0) * math.pi
    return torch.zeros(tuple(shape))


class InputProjection(nn.Module):
    """x (B, T, d_model) -> one input of the mechanism (B, T, *sizes), in its domain and dtype.

    Gates (every domain but normal and unit_norm) have a bias; they are computed in float32 after the product.
    """

    def __init__(self, entry: TensorSpec, sizes: Mapping[str, int], d_model: int) -> None:
        super().__init__()
        self.entry = entry
        self.shape = tuple(sizes[dim] for dim in entry.dims[2:])
        self.linear = nn.Linear(d_model, math.prod(self.shape), bias=False)
        gate = entry.domain not in ("normal", "unit_norm")
        self.bias = nn.Parameter(_initial_raw(self.shape, entry.domain)) if gate else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raw = self.linear(x).unflatten(-1, self.shape) if self.shape else self.linear(x).squeeze(-1)
        if self.entry.domain == "normal" and self.entry.dtype == "io":
            return raw
        wide = raw.float() if self.bias is None else raw.float() + self.bias.float()
        value = to_domain(wide, self.entry.domain)
        return value.to(raw.dtype) if self.entry.dtype == "io" else value


class MixerModule(nn.Module):
    """A mechanism between projections. Initialisation draws from PyTorch's current generator only."""

    def __init__(
        self,
        bound: BoundMechanism,
        d_model: int,
        *,
        heads: int,
        sizes: Mapping[str, int] | None = None,
        backend: Backend = "auto",
        tuning: int = 0,
    ) -> None:
        """`sizes` gives the mechanism's other dimensions by name; K, V and D default to d_model / heads.

        `backend` and `tuning` are those of `BoundMechanism`. Raises ValueError for sizes that the SPEC does
        not allow or does not get, and for `index` inputs, which have no projection from activations.
        """
        super().__init__()
        self.bound, self.backend, self.tuning = bound, backend, tuning
        self.sizes = _module_sizes(bound.spec, d_model, heads, sizes or {})
        indices = [
            entry.name for entry in (*bound.spec.inputs, *bound.spec.params) if entry.domain == "index"
        ]
        if indices:
            raise ValueError(
                f"{bound.path}: expected inputs that are projections of activations, got the index inputs "
                f"{', '.join(indices)}. Call the mechanism directly with indices of your own."
            )
        spec = bound.spec
        self.projections = nn.ModuleList(InputProjection(entry, self.sizes, d_model) for entry in spec.inputs)
        self.raw_params = nn.ParameterDict(
            {
                entry.name: nn.Parameter(_initial_raw(entry.shape(self.sizes), entry.domain))
                for entry in spec.params
            }
        )
        features = tuple(self.sizes[dim] for dim in spec.output.dims[2:])
        self.norm = nn.RMSNorm(features[-1], eps=NORM_EPS)
        self.out = nn.Linear(math.prod(features), d_model, bias=False)

    def forward(
        self, x: torch.Tensor, state: Sequence[torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, State]:
        """x (B, T, d_model) -> y (B, T, d_model) and the new state, to be fed back with the next part."""
        inputs = [projection(x) for projection in self.projections]
        io = next(
            (t.dtype for t, entry in zip(inputs, self.bound.spec.inputs, strict=True) if entry.dtype == "io"),
            x.dtype,
        )
        if state is None:
            state = self.initial_state(x.shape[0], io=io)
        mixed, new_state = self.bound(
            *inputs, *self.params(io), state=state, backend=self.backend, tuning=self.tuning
        )
        y = self.out(self.norm(mixed.to(x.dtype)).flatten(2))
        return y, new_state

    def params(self, io: torch.dtype) -> list[torch.Tensor]:
        """The mechanism's learned params in their domains, in SPEC order; `io` is the dtype of io entries."""
        values = []
        for entry in self.bound.spec.params:
            value = to_domain(self.raw_params[entry.name].float(), entry.domain)
            values.append(value.to(io) if entry.dtype == "io" else value)
        return values

    def initial_state(self, batch: int, *, io: torch.dtype | None = None) -> State:
        """Zeros for `batch` sequences on the module's device; io entries in `io`, else the weights' dtype."""
        weight = self.out.weight
        return zero_state(self.bound.spec, {**self.sizes, BATCH: batch}, io or weight.dtype, weight.device)


def _module_sizes(spec: Spec, d_model: int, heads: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Every dimension but B and T; what is not given is `heads` for H and d_model / heads for K, V and D."""
    unknown = [name for name in sizes if name not in spec.all_dims() or name in (BATCH, TIME, HEADS)]
    if unknown:
        takes = [name for name in spec.free_dims() if name not in (BATCH, TIME, HEADS)]
        raise ValueError(f"sizes: expected names of {takes}, got {unknown}")
    wanted = dict(sizes)
    for name in spec.free_dims():
        if name == HEADS:
            wanted[name] = heads
        elif name in (BATCH, TIME):
            wanted[name] = 1
        elif name in STANDARD_DIMS and name not in wanted:
            if d_model % heads:
                raise ValueError(
                    f"size of {name}: expected d_model divisible by heads, got {d_model} and {heads}"
                )
            wanted[name] = d_model // heads
    missing = [name for name in spec.module_dims() if name not in wanted]
    if missing:
        rules = ", ".join(f"{name} ({describe(spec.dims[name])})" for name in missing)
        raise ValueError(f"sizes: expected a size for {rules}, got none")
    full = spec.resolve(wanted)
    if full.get(HEADS, heads) != heads:
        raise ValueError(
            f"heads: expected {full[HEADS]}, as its SPEC computes it from the other sizes, got {heads}"
        )
    return {name: size for name, size in full.items() if name not in (BATCH, TIME)}
