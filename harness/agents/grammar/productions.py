"""Well-known slot contents, by name: what a search starts from and what crossover recombines.

Feature maps: elu + 1 (Katharopoulos et al. 2020, arXiv:2006.16236), squared relu (Hua et al. 2022,
arXiv:2202.10447), silu and the identity (Sun et al. 2023, arXiv:2307.08621), exp (Choromanski et al. 2021,
arXiv:2009.14794), 1 + x^2/2 (the Taylor feature of Arora et al. 2024, arXiv:2402.18668, kept to its
diagonal). Key norms: L2 (Yang et al. 2024, arXiv:2406.06484), L1, largest magnitude, and 1 / sqrt(1 + |x|^2).
Score modifications: linear bias by distance (Press et al. 2021, arXiv:2108.12409), its logarithm (Chi et al.
2022, arXiv:2205.09921), soft cap (Gemma Team 2024, arXiv:2408.00118).
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.agents.grammar.rows import IDENTITY, Row
from harness.agents.grammar.scales import Scale
from harness.agents.grammar.score_mods import ScoreMod
from harness.agents.grammar.trees import ONE, Tree, X, add, apply, constant, multiply
from harness.agents.grammar.windows import Window

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

WINDOWS: Mapping[str, Window] = {
    "all": Window(),
    "near16": Window(tokens=16, parts=0),
    "near32": Window(tokens=32, parts=0),
    "near64": Window(tokens=64, parts=0),
    "near128": Window(tokens=128, parts=0),
    "half": Window(tokens=1, parts=2),
    "quarter": Window(tokens=1, parts=4),
}


def _soft_cap(limit: float) -> Tree:
    """limit * tanh(x / limit)."""
    return multiply(constant(limit), apply("tanh", multiply(constant(1.0 / limit), X)))


SCORE_MODS: Mapping[str, ScoreMod] = {
    "linear": ScoreMod(slope="geometric", rate=8.0),
    "steep": ScoreMod(slope="geometric", rate=4.0),
    "even": ScoreMod(slope="even", rate=0.0625),
    "ladder": ScoreMod(slope="ladder", rate=0.125),
    "log": ScoreMod(fade=apply("log1p", X), slope="ladder", rate=1.0),
    "root": ScoreMod(fade=apply("sqrt_abs", X), slope="geometric", rate=4.0),
    "plain": ScoreMod(),
    "cap": ScoreMod(shape=_soft_cap(32.0)),
    "tightcap": ScoreMod(shape=_soft_cap(4.0)),
    "caplinear": ScoreMod(shape=_soft_cap(32.0), slope="geometric", rate=8.0),
}
