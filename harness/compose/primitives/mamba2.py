"""`Mb`: Mamba-2 (arXiv 2405.21060), with the names and layouts of mamba-ssm, so that weights fit both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from harness.compose.composition import MAMBA
from harness.compose.primitives.mamba_kernels import chunk_scan
from harness.compose.primitives.ssd import CHUNK, ssd
from harness.compose.shape import ModelShape

SLOWEST_STEP, FASTEST_STEP = 1e-3, 1e-1
STRONGEST_DECAY = 16.0
Backend = Literal["auto", "torch", "kernels"]


class Mamba2(nn.Module):
    """(B, T, d_model) -> (B, T, d_model). `in_proj` gives [z, x, B, C, dt] in this order.

    `backend` "auto" takes mamba-ssm's Triton kernels on a CUDA device and the PyTorch form elsewhere; on a
    CUDA device without mamba-ssm it raises HarnessError, for a silent fall-back would be a tenth as fast.
    """

    def __init__(self, shape: ModelShape, *, backend: Backend = "auto") -> None:
        super().__init__()
        self.backend = backend
        self.inner = shape.ssm_expand * shape.d_model
        self.width, self.state, self.groups = shape.ssm_head_dim, shape.ssm_state, shape.ssm_groups
        heads = self.inner // self.width
        if heads % self.groups:
            raise ValueError(f"ssm_groups: expected a divisor of the {heads} heads, got {self.groups}")
        mixed = self.inner + 2 * self.groups * self.state
        self.in_proj = nn.Linear(shape.d_model, self.inner + mixed + heads, bias=False)
        self.conv1d = nn.Conv1d(mixed, mixed, shape.ssm_conv, groups=mixed, padding=shape.ssm_conv - 1)
        self.dt_bias = nn.Parameter(_initial_dt_bias(heads))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1.0, STRONGEST_DECAY).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = nn.RMSNorm(self.inner, eps=shape.norm_eps)
        self.out_proj = nn.Linear(self.inner, shape.d_model, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sizes = (self.inner, self.conv1d.weight.shape[0], self.A_log.shape[0])
        z, mixed, dt = self.in_proj(x).split(sizes, -1)
        mixed = F.silu(self._convolve(mixed))
        x, B, C = mixed.split((self.inner, *(2 * (self.groups * self.state,))), -1)
        x = x.unflatten(-1, (-1, self.width))
        B, C = (each.unflatten(-1, (self.groups, -1)) for each in (B, C))
        y = self._mix(x, dt, B, C).flatten(2)
        return self.out_proj(self._gated_norm(y, z))

    def _mix(self, x: torch.Tensor, dt: torch.Tensor, B: torch.Tensor, C: torch.Tensor) -> torch.Tensor:
        """The state space model and its skip D, float32 inside: (B, T, H, P), dtype as x."""
        A = -self.A_log.float().exp()
        if self.backend == "kernels" or (self.backend == "auto" and x.is_cuda):
            return chunk_scan(x, dt, A, B, C, D=self.D, dt_bias=self.dt_bias)
        with torch.autocast(x.device.type, enabled=False):
            wide, steps = x.float(), F.softplus(dt.float() + self.dt_bias.float())
            y = ssd(wide, steps, A, B.float(), C.float())
            return torch.addcmul(y, wide, self.D.float()[:, None]).to(x.dtype)

    def _convolve(self, x: torch.Tensor) -> torch.Tensor:
        """Causal depthwise convolution over time, x (B, T, channels).

        Shifted products on a CPU, where a depthwise Conv1d of 4 taps takes up to twice as long (measured at
        widths of 96 to 160, forward and backward).
        """
        length, taps = x.shape[1], self.conv1d.weight.shape[2]
        if x.device.type != "cpu":
            return self.conv1d(x.transpose(1, 2))[..., :length].transpose(1, 2)
        padded, weight = F.pad(x, (0, 0, taps - 1, 0)), self.conv1d.weight[:, 0].to(x.dtype)
        y = self.conv1d.bias.to(x.dtype)
        for tap in range(taps):
            y = torch.addcmul(y, padded[:, tap : tap + length], weight[:, tap])
        return y

    def _gated_norm(self, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """RMSNorm of y silu(z), over each group by itself (mamba-ssm's norm_before_gate=False)."""
        gated = y * F.silu(z)
        weight = self.norm.weight.to(gated.dtype)
        if self.groups == 1:
            return F.rms_norm(gated, weight.shape, weight, self.norm.eps)
        by_group = gated.unflatten(-1, (self.groups, -1))
        return F.rms_norm(by_group, by_group.shape[-1:], eps=self.norm.eps).flatten(-2) * weight


def _initial_dt_bias(heads: int) -> torch.Tensor:
    """(heads,) whose softplus is spread evenly on a log scale, as in mamba-ssm."""
    steps = torch.exp(math.log(SLOWEST_STEP) + torch.rand(heads) * math.log(FASTEST_STEP / SLOWEST_STEP))
    return steps + torch.log(-torch.expm1(-steps))


@dataclass(frozen=True, kw_only=True)
class MambaPrimitive:
    """The primitive `Mb`."""

    token: str = MAMBA
    identity: str = "Mb/1"
    causal: bool = True
    needs_measured: bool = False
    backend: Backend = "auto"

    def build(self, shape: ModelShape) -> nn.Module:
        return Mamba2(shape, backend=self.backend)

    def parameters(self, shape: ModelShape) -> int:
        inner, heads, mixed = _sizes(shape)
        projections = shape.d_model * (inner + mixed + heads) + inner * shape.d_model
        return projections + mixed * (shape.ssm_conv + 1) + 3 * heads + inner

    def state_bytes(self, shape: ModelShape, length: int, *, bytes_per_value: int = 2) -> int:  # noqa: ARG002  the contract's arguments
        """The state S of every head, and the last taps of the convolution."""
        inner, _, mixed = _sizes(shape)
        return (inner * shape.ssm_state + mixed * (shape.ssm_conv - 1)) * bytes_per_value

    def flops(self, shape: ModelShape, length: int) -> int:
        """Projections, convolution, and the products of the chunked form with chunks of 64 tokens.

        A chunk that is not full counts as full: its rows are computed.
        """
        inner, heads, mixed = _sizes(shape)
        per_token = 2 * shape.d_model * (inner + mixed + heads) + 2 * inner * shape.d_model
        per_token += 2 * mixed * shape.ssm_conv
        return length * per_token + _scan_flops(shape, length, inner)


def _scan_flops(shape: ModelShape, length: int, inner: int) -> int:
    chunk = min(CHUNK, length)
    chunks = -(-length // chunk)
    rows = chunks * chunk
    within = 2 * rows * chunk * (shape.ssm_groups * shape.ssm_state + inner)
    if chunks == 1:
        return within
    states = 4 * rows * inner * shape.ssm_state  # added to, and read from
    return within + states + 2 * chunks**2 * inner * shape.ssm_state


def _sizes(shape: ModelShape) -> tuple[int, int, int]:
    """Inner width, heads, and channels of the convolution."""
    inner = shape.ssm_expand * shape.d_model
    return inner, inner // shape.ssm_head_dim, inner + 2 * shape.ssm_groups * shape.ssm_state
