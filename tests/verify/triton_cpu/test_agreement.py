"""Sampled counts of the templates' own kernels against all of their programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agreement.comparing import compare_mechanism

TEMPLATES = Path(__file__).resolve().parents[3] / "templates"


@pytest.mark.parametrize(
    ("name", "shape", "kernels"),
    [
        ("softmax_attention/v1/plain", "B=1,G=3,R=3,T=170,K=16,V=16", 3),  # causal: later tiles do more
        ("linear_state/v1/token_decay", "B=1,H=6,T=260,K=8,V=5", 2),
    ],
)
def test_a_sample_of_a_templates_programs_counts_within_two_percent(
    name: str, shape: str, kernels: int
) -> None:
    compared = compare_mechanism(TEMPLATES / f"{name}.py", shape, "float32")
    assert len(compared) >= kernels
    off = {one.exact.kernel: one.worst() for one in compared if abs(one.worst()[1]) > 0.02}
    assert off == {}
