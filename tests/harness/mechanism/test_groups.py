"""Mechanisms whose heads share keys: the number of heads per group is in no tensor."""

from __future__ import annotations

import pytest
import torch

from harness.mechanism import BoundMechanism, MixerModule, load_source
from tests.harness.mechanism.conftest import ROOT

SKELETONS = sorted((ROOT / "templates" / "softmax_attention" / "v1").glob("*.py"))


@pytest.fixture(params=SKELETONS, ids=lambda path: path.stem)
def grouped(request: pytest.FixtureRequest) -> BoundMechanism:
    return load_source(request.param.read_bytes(), path=request.param.name)


def test_backends_agree_where_heads_share_keys(grouped: BoundMechanism) -> None:
    x = torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(5))
    found = {}
    for backend in ("parallel", "kernels"):
        torch.manual_seed(3)
        module = MixerModule(grouped, 16, heads=4, sizes={"G": 2, "R": 2}, backend=backend)
        y, state = module(x)
        assert state == ()
        y.sin().sum().backward()
        found[backend] = [y, *(p.grad for p in module.parameters())]
    for kernels, parallel in zip(found["kernels"], found["parallel"], strict=True):
        assert parallel.abs().sum() > 0
        torch.testing.assert_close(kernels, parallel, rtol=1e-4, atol=2e-5)


def test_heads_that_are_no_multiple_of_groups_are_refused(grouped: BoundMechanism) -> None:
    sizes = {"H": 3, "G": 2, "K": 4, "V": 4, "B": 1, "T": 3}
    values = [torch.zeros([sizes[dim] for dim in entry.dims]) for entry in grouped.spec.arguments]
    with pytest.raises(ValueError, match=r"H: expected G\*R for some R .* and G = 2, got 3"):
        grouped(*values, state=(), backend="parallel")
