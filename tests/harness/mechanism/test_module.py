from __future__ import annotations

import pytest
import torch
import torch.utils.checkpoint
from torch import nn

from harness.mechanism import BoundMechanism, MixerModule, load_source
from harness.mechanism.module import to_domain
from tests.harness.mechanism.conftest import FADING
from verify.source.contract import DOMAINS


def mixer(bound: BoundMechanism, **options) -> MixerModule:
    torch.manual_seed(3)
    return MixerModule(bound, 16, heads=2, **options)


def sequence(length: int = 7, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, length, 16, generator=torch.Generator().manual_seed(5)).to(dtype)


@pytest.mark.parametrize("backend", ["parallel", "kernels"])
def test_decoding_token_by_token_equals_the_whole_sequence(bound: BoundMechanism, backend) -> None:
    module, x = mixer(bound, backend=backend), sequence()
    with torch.no_grad():
        whole, final = module(x)
        state, pieces = module.initial_state(2), []
        for t in range(x.shape[1]):
            y, state = module(x[:, t : t + 1], state)
            pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-5)
    for stepped, at_once in zip(state, final, strict=True):
        torch.testing.assert_close(stepped, at_once, rtol=1e-4, atol=1e-5)


def test_backends_agree_on_outputs_and_weight_gradients(bound: BoundMechanism) -> None:
    found = {}
    for backend in ("parallel", "kernels"):
        module = mixer(bound, backend=backend)
        y, _ = module(sequence())
        y.sin().sum().backward()
        found[backend] = [y, *(p.grad for p in module.parameters())]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in found["kernels"])
    for kernels, parallel in zip(found["kernels"], found["parallel"], strict=True):
        torch.testing.assert_close(kernels, parallel, rtol=1e-4, atol=2e-5)


def test_one_seed_gives_one_initialisation(bound: BoundMechanism) -> None:
    first, second = mixer(bound).state_dict(), mixer(bound).state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_inputs_and_params_lie_in_their_domains(bound: BoundMechanism) -> None:
    module, x = mixer(bound), sequence()
    values = [*(projection(x) for projection in module.projections), *module.params(torch.float32)]
    for entry, value in zip(bound.spec.arguments, values, strict=True):
        assert tuple(value.shape) == entry.shape({**module.sizes, "B": 2, "T": 7})
        if entry.domain == "log_decay":
            assert (value <= 0).all()
            assert value.dtype == torch.float32
        if entry.domain == "unit_norm":
            torch.testing.assert_close(value.norm(dim=-1), torch.ones(value.shape[:-1]))


def test_every_domain_but_index_has_a_map() -> None:
    raw = torch.linspace(-30, 30, 61)[:, None]
    ranges = {"log_decay": (-31, 0), "unit_interval": (0, 1), "positive": (0, 31), "unit_norm": (-1, 1)}
    for domain in set(DOMAINS) - {"index"}:
        low, high = ranges.get(domain, (-30, 30))
        value = to_domain(raw, domain)
        assert low <= value.min() <= value.max() <= high
    with pytest.raises(ValueError, match="all but index"):
        to_domain(raw, "index")


def test_new_decays_span_many_time_scales(fading: BoundMechanism) -> None:
    torch.manual_seed(0)
    (decay,) = MixerModule(fading, 256, heads=256).params(torch.float32)
    tau = -1 / decay
    assert 1 <= tau.min() < 1.5
    assert 45 < tau.max() <= 64.1


@pytest.mark.parametrize("backend", ["parallel", "kernels"])
def test_a_bfloat16_module_keeps_its_state_in_float32(bound: BoundMechanism, backend) -> None:
    module = mixer(bound, backend=backend).bfloat16()
    y, state = module(sequence(dtype=torch.bfloat16))
    assert y.dtype == torch.bfloat16
    assert {tensor.dtype for tensor in state} == {torch.float32}
    y.float().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("backend", ["parallel", "kernels"])
def test_autocast_trains_float32_weights(bound: BoundMechanism, backend) -> None:
    module = mixer(bound, backend=backend)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = module(sequence())
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert {parameter.grad.dtype for parameter in module.parameters()} == {torch.float32}


def test_activation_checkpointing_changes_nothing(fading: BoundMechanism) -> None:
    found = []
    for checkpointed in (False, True):
        module, x = mixer(fading, backend="kernels"), sequence().requires_grad_()
        if checkpointed:
            y, _ = torch.utils.checkpoint.checkpoint(module, x, use_reentrant=False)
        else:
            y, _ = module(x)
        found.append(torch.autograd.grad(y.sin().sum(), [x, *module.parameters()]))
    assert all(torch.equal(left, right) for left, right in zip(*found, strict=True))


def test_sizes_may_differ_from_the_default(fading: BoundMechanism) -> None:
    module = mixer(fading, sizes={"K": 3, "V": 5})
    y, (state,) = module(sequence())
    assert y.shape == (2, 7, 16)
    assert state.shape == (2, 2, 3, 5)


def test_wrong_sizes_are_named(fading: BoundMechanism) -> None:
    with pytest.raises(ValueError, match=r"sizes: expected names of \['K', 'V'\], got \['N'\]"):
        mixer(fading, sizes={"N": 3})
    with pytest.raises(ValueError, match="expected d_model divisible by heads, got 16 and 3"):
        MixerModule(fading, 16, heads=3)


def changed(*replacements: tuple[str, str]) -> BoundMechanism:
    source = FADING.read_text()
    for old, new in replacements:
        assert old in source
        source = source.replace(old, new)
    return load_source(source.encode())


def test_declared_dims_take_their_sizes_by_name() -> None:
    bound = changed(('"q": "B T H K"', '"q": "B T H M"'), ('"dims": {}', '"dims": {"M": "1..64"}'))
    with pytest.raises(ValueError, match=r"expected a size for M \(1\.\.64\), got none"):
        mixer(bound)
    assert mixer(bound, sizes={"M": 6}).sizes["M"] == 6


def test_index_inputs_are_refused() -> None:
    bound = changed(
        ('"v": "B T H V"}', '"v": "B T H V", "i": "B T : index"}'), ("(q, k, v, a,", "(q, k, v, i, a,")
    )
    with pytest.raises(ValueError, match="got the index inputs i"):
        mixer(bound)


def test_modules_save_and_restore(fading: BoundMechanism, tmp_path) -> None:
    module = mixer(fading)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    torch.manual_seed(99)
    other = MixerModule(fading, 16, heads=2)
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    assert torch.equal(other(sequence())[0], module(sequence())[0])
    assert isinstance(module, nn.Module)
