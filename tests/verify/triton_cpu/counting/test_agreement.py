"""Sampled counts of the templates' own kernels against all of their programs."""

from __future__ import annotations

from pathlib import Path

from tests.agreement.comparing import compare_mechanism

TEMPLATES = Path(__file__).resolve().parents[4] / "templates"


def test_a_sample_of_a_templates_programs_counts_within_two_percent() -> None:
    plain = TEMPLATES / "softmax_attention/v1/plain.py"  # causal: later tiles do more
    compared = compare_mechanism(plain, "B=1,G=3,R=3,T=170,K=16,V=16", "float32")
    assert len(compared) >= 3
    off = {one.exact.kernel: one.worst() for one in compared if abs(one.worst()[1]) > 0.02}
    assert off == {}
