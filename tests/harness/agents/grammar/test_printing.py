from __future__ import annotations

import numpy as np
import pytest

from harness.agents.grammar.functions import FUNCTIONS, GROWN, derivative
from harness.agents.grammar.growth import grow
from harness.agents.grammar.printing import torch_body, triton_body
from harness.agents.grammar.productions import FEATURE_MAPS
from harness.agents.grammar.trees import Tree, X, add, apply, constant, describe, multiply
from harness.agents.grammar.weights import Weights
from harness.chance import generator
from tests.harness.agents.grammar.tile_language import TL, run_body

torch = pytest.importorskip("torch")

GROWN_TREES = [grow(generator(7, "tree", n), Weights(), "feature_map", levels=3) for n in range(60)]
COMPOSED = [
    apply("tanh", multiply(constant(0.5), apply("square", X))),
    multiply(apply("softplus", add(X, constant(-0.5))), apply("sigmoid", X)),
    *(apply(outer, apply(inner, X)) for outer in GROWN for inner in ("tanh", "softplus", "square")),
    *GROWN_TREES,
]
NAMED = [apply(name, X) for name in FUNCTIONS]
TREES = [*FEATURE_MAPS.values(), *NAMED, *COMPOSED]


def points(count: int = 257) -> np.ndarray:
    """Both signs, small and moderate; irregular, so that no kink of a composed tree is hit by chance."""
    rng = np.random.default_rng(11)
    return np.concatenate([rng.normal(size=count), 1e-3 * rng.normal(size=32), 4.0 * rng.normal(size=32)])


def by_torch(tree: Tree, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and derivative of the torch form in float64, the derivative by autograd."""
    tensor = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    value = run_body(torch_body(tree), {"x": tensor}, {"torch": torch})
    if not value.requires_grad:  # a step: flat everywhere
        return value.numpy(), np.zeros_like(x)
    (slope,) = torch.autograd.grad(value.sum(), tensor)
    return value.detach().numpy(), slope.numpy()


def by_triton(tree: Tree, x: np.ndarray) -> np.ndarray:
    return np.asarray(run_body(triton_body(tree), {"x": x}, {"tl": TL}))


@pytest.mark.parametrize("tree", TREES, ids=describe)
def test_triton_form_computes_what_the_torch_form_computes(tree: Tree) -> None:
    x = points()
    value, _ = by_torch(tree, x)
    np.testing.assert_allclose(by_triton(tree, x), value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("tree", TREES, ids=describe)
def test_derivative_form_is_the_gradient_of_the_torch_form(tree: Tree) -> None:
    x = points()
    value, slope = by_torch(tree, x)
    printed = by_triton(derivative(tree), x)
    assert printed.shape == x.shape
    finite = np.isfinite(value) & np.isfinite(slope)
    np.testing.assert_allclose(printed[finite], slope[finite], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("tree", [*FEATURE_MAPS.values(), *NAMED], ids=describe)
def test_derivative_form_is_the_slope_of_a_finite_difference(tree: Tree) -> None:
    x = points()
    x = x[np.abs(x) > 1e-4]
    step = 1e-6
    with np.errstate(all="ignore"):
        slope = (by_torch(tree, x + step)[0] - by_torch(tree, x - step)[0]) / (2.0 * step)
    printed = by_triton(derivative(tree), x)
    finite = np.isfinite(slope) & (np.abs(slope) < 1e3)
    assert finite.sum() > 100
    np.testing.assert_allclose(printed[finite], slope[finite], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 8.0])
@pytest.mark.parametrize("name", FEATURE_MAPS)
def test_well_known_maps_keep_float32_accuracy_at_every_scale(name: str, scale: float) -> None:
    x = (scale * np.random.default_rng(3).normal(size=512)).astype(np.float32)
    tree = FEATURE_MAPS[name]
    value, slope = by_torch(tree, x.astype(np.float64))
    for printed, exact in ((by_triton(tree, x), value), (by_triton(derivative(tree), x), slope)):
        error = np.sqrt(np.mean((printed.astype(np.float64) - exact) ** 2))
        assert error <= 4e-7 * np.sqrt(np.mean(exact**2))


@pytest.mark.parametrize("name", ["softplus", "silu", "sigmoid", "tanh", "elu1", "relu", "gelu", "log1p"])
def test_bounded_slopes_survive_huge_inputs(name: str) -> None:
    tree = FEATURE_MAPS.get(name, apply("log1p", apply("abs", X)))
    x = np.array([-1e4, -200.0, 0.0, 200.0, 1e4], dtype=np.float32)
    assert np.isfinite(by_triton(tree, x)).all()
    assert np.isfinite(by_triton(derivative(tree), x)).all()


def test_repeated_parts_are_computed_once() -> None:
    inner = apply("exp", X)
    body = triton_body(add(apply("sigmoid", inner), apply("square", inner)))
    assert body.count("tl.exp") == 1


def test_a_constant_keeps_the_shape_of_the_tile() -> None:
    assert by_triton(derivative(X), np.zeros((4, 8), np.float32)).shape == (4, 8)


def test_precedence_survives_printing() -> None:
    tree = multiply(add(X, constant(1.0)), add(X, constant(-2.0)))
    x = np.array([0.5, 3.0])
    np.testing.assert_allclose(by_triton(tree, x), (x + 1.0) * (x - 2.0))
