"""Mechanisms to bind: a small one outside every family, and every released skeleton."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.mechanism import BoundMechanism, load_source
from harness.mechanism.module import to_domain
from verify.source.contract import TensorSpec

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
FADING = HERE / "fading_attention.py"
SKELETONS = sorted((ROOT / "templates" / "linear_state" / "v1").glob("*.py"))


@pytest.fixture(scope="session")
def fading() -> BoundMechanism:
    return load_source(FADING.read_bytes(), path="fading_attention.py")


@pytest.fixture(scope="session", params=[FADING, *SKELETONS], ids=lambda path: path.stem)
def bound(request: pytest.FixtureRequest) -> BoundMechanism:
    """Each mechanism in turn."""
    return load_source(request.param.read_bytes(), path=request.param.name)


def draw(entry: TensorSpec, sizes: dict[str, int], generator: torch.Generator) -> torch.Tensor:
    return to_domain(torch.randn(entry.shape(sizes), generator=generator), entry.domain)


def tensors(bound: BoundMechanism, *, seed: int = 0, grad: bool = True, **sizes: int) -> list[torch.Tensor]:
    """float32 leaves for inputs, params and state, in SPEC order; by default B=2, T=5, H=2, K=3, V=4."""
    full = bound.spec.resolve({"B": 2, "T": 5, "H": 2, "K": 3, "V": 4, **sizes})
    generator = torch.Generator().manual_seed(seed)
    return [draw(entry, full, generator).requires_grad_(grad) for entry in bound.spec.differentiated]


def call(bound: BoundMechanism, values: list[torch.Tensor], backend: str) -> tuple[torch.Tensor, ...]:
    """Output and states, flat."""
    count = len(bound.spec.arguments)
    output, state = bound(*values[:count], state=values[count:], backend=backend)
    return (output, *state)
