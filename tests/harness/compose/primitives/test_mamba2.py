from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from harness.compose.primitives.mamba2 import Mamba2
from harness.compose.primitives.ssd import ssd
from harness.compose.shape import ModelShape
from verify.triton_cpu.packages import kernel_module

SHAPE = ModelShape(
    d_model=24, heads=2, kv_heads=2, head_dim=12, ffn=48, vocab=11, ssm_state=8, ssm_head_dim=12, ssm_groups=2
)
LENGTHS = (1, 7, 64, 65, 131, 193)


def installed(name: str):
    """A module of mamba-ssm; skips where mamba-ssm, or something that it needs, is not installed."""
    try:
        return kernel_module(name)
    except ModuleNotFoundError as missing:
        pytest.skip(f"compares against mamba-ssm, which needs {missing.name}: not installed")


def inputs(length: int, *, groups: int = 2) -> tuple[torch.Tensor, ...]:
    """x, dt, A, B, C in float64 of 2 sequences, 4 heads of 6 and a state of 5."""
    g = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    dt, A = F.softplus(normal(2, length, 4) - 1), -normal(4).exp()
    return normal(2, length, 4, 6), dt, A, normal(2, length, groups, 5), normal(2, length, groups, 5)


def recurrence(x, dt, A, B, C) -> torch.Tensor:
    """The definition, token by token."""
    B, C = (each.repeat_interleave(x.shape[2] // each.shape[2], 2) for each in (B, C))
    S, rows = x.new_zeros(*x.shape[:1], *x.shape[2:], B.shape[-1]), []
    for t in range(x.shape[1]):
        S = torch.exp(dt[:, t] * A)[..., None, None] * S
        S = S + (dt[:, t, :, None] * x[:, t])[..., None] * B[:, t, :, None]
        rows.append((S * C[:, t, :, None]).sum(-1))
    return torch.stack(rows, 1)


@pytest.mark.parametrize("length", LENGTHS)
def test_chunks_equal_the_recurrence(length):
    given = inputs(length)
    torch.testing.assert_close(ssd(*given), recurrence(*given), rtol=1e-10, atol=1e-10)


def test_gradients_of_chunks_equal_those_of_the_recurrence():
    given = [each.requires_grad_() for each in inputs(37)]
    cotangent = torch.randn(2, 37, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = torch.autograd.grad(ssd(*given, chunk=8), given, cotangent)
    expected = torch.autograd.grad(recurrence(*given), given, cotangent)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_strong_decays_over_many_tokens_stay_finite():
    x, dt, A, B, C = (each.float().requires_grad_() for each in inputs(300))
    y = ssd(x, dt * 50, A * 50, B, C)
    gradients = torch.autograd.grad(y.sum(), (x, dt, A, B, C))
    assert all(torch.isfinite(each).all() for each in (y, *gradients))


@pytest.mark.parametrize("length", [64, 192])
def test_chunks_equal_the_listing_of_the_paper(length):
    minimal = installed("mamba_ssm.modules.ssd_minimal").ssd_minimal_discrete
    x, dt, A, B, C = inputs(length)
    wide = (each.repeat_interleave(2, 2) for each in (B, C))
    expected, _ = minimal(x * dt[..., None], dt * A, *wide, 64)
    torch.testing.assert_close(ssd(x, dt, A, B, C), expected, rtol=1e-10, atol=1e-10)


def test_a_layer_equals_that_of_mamba_ssm_with_its_weights(monkeypatch):
    """Their layer runs on a CPU once its two kernels are replaced by the references that come with them."""
    theirs = installed("mamba_ssm.modules.mamba2")
    scan = installed("mamba_ssm.ops.triton.ssd_combined").ssd_chunk_scan_combined_ref
    norm = installed("mamba_ssm.ops.triton.layernorm_gated").rms_norm_ref
    taken = ("D", "z", "dt_bias", "dt_softplus")
    monkeypatch.setattr(
        theirs,
        "mamba_chunk_scan_combined",
        lambda x, dt, A, B, C, chunk_size, **rest: scan(
            x, dt, A, B, C, chunk_size, **{name: rest[name] for name in taken}
        ),
    )
    layer = theirs.Mamba2(
        24, d_state=8, headdim=12, ngroups=2, norm_before_gate=False, use_mem_eff_path=False, chunk_size=64
    )
    monkeypatch.setattr(
        layer.norm,
        "forward",
        lambda y, z: norm(y, layer.norm.weight, None, z, layer.norm.eps, layer.norm.group_size, False),
    )
    ours, x = Mamba2(SHAPE), torch.randn(2, 128, 24, generator=torch.Generator().manual_seed(3))
    torch.nn.init.uniform_(layer.norm.weight)
    ours.load_state_dict(layer.state_dict())
    torch.testing.assert_close(ours(x), layer(x), rtol=1e-4, atol=1e-5)


def test_weights_have_the_names_and_shapes_of_mamba_ssm():
    theirs = installed("mamba_ssm.modules.mamba2").Mamba2(
        24, d_state=8, headdim=12, ngroups=2, expand=2, d_conv=4
    )
    ours = Mamba2(SHAPE)
    assert {n: w.shape for n, w in ours.state_dict().items()} == {
        n: w.shape for n, w in theirs.state_dict().items()
    }
