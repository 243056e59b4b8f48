"""Well-known slot contents, by name: what a search starts from and what crossover recombines.

Feature maps: elu + 1 (Katharopoulos et al. 2020, arXiv:2006.16236), squared relu (Hua et al. 2022,
arXiv:2202.10447), silu and the identity (Sun et al. 2023, arXiv:2307.08621), exp (Choromanski et al. 2021,
arXiv:2009.14794), 1 + x^2/2 (the Taylor feature of Arora et al. 2024, arXiv:2402.18668, kept to its
diagonal). Key norms: L2 (Yang et al. 2024, arXiv:2406.06484), L1, largest magnitude, and 1 / sqrt(1 + |x|^2).
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.agents.grammar.rows import IDENTITY, Row
from harness.agents.grammar.scales import Scale
from harness.agents.grammar.trees import ONE, Tree, X, add, apply, constant, multiply

_EPSILON = constant(1e-6)
_SQUARES = apply("square", X)
_MAGNITUDES = apply("abs", X)

FEATURE_MAPS: Mapping[str, Tree] = {
    "identity": X,
    "elu1": apply("elu_plus_one", X),
    "relu": apply("relu", X),
    "relu2": apply("square", apply("relu", X)),
    "softplus": apply("softplus", X),
    "exp": apply("exp", X),
    "silu": apply("silu", X),
    "sigmoid": apply("sigmoid", X),
    "gelu": apply("gelu", X),
    "tanh": apply("tanh", X),
    "square1": add(ONE, multiply(constant(0.5), _SQUARES)),
    "square": _SQUARES,
    "exptanh": apply("exp", apply("tanh", X)),
}

KEY_NORMS: Mapping[str, Row] = {
    "plain": IDENTITY,
    "l2": Row(statistic="sum", inner=_SQUARES, outer=apply("rsqrt", add(X, _EPSILON))),
    "l1": Row(statistic="sum", inner=_MAGNITUDES, outer=apply("reciprocal", add(X, _EPSILON))),
    "peak": Row(statistic="max", inner=_MAGNITUDES, outer=apply("reciprocal", add(X, _EPSILON))),
    "softl2": Row(statistic="sum", inner=_SQUARES, outer=apply("rsqrt", add(X, ONE))),
    "softl1": Row(statistic="sum", inner=_MAGNITUDES, outer=apply("reciprocal", add(X, ONE))),
    "softpeak": Row(statistic="max", inner=_MAGNITUDES, outer=apply("reciprocal", add(X, ONE))),
}

SCALES: Mapping[str, Scale] = {
    "rsqrtk": Scale(power=-0.5),
    "unit": Scale(),
    "overk": Scale(power=-1.0),
    "half": Scale(factor=0.5),
    "tenth": Scale(factor=0.1),
    "quarterk": Scale(power=-0.25),
}
