from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.agents.grammar.trees import (
    ONE,
    ZERO,
    Constant,
    Tree,
    X,
    add,
    apply,
    constant,
    depth,
    describe,
    from_json,
    is_typed,
    multiply,
    replace_at,
    simplify,
    subtrees,
    to_json,
)

NUMBERS = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.just(X) | NUMBERS.map(constant),
    lambda inner: (
        st.builds(apply, st.sampled_from(["exp", "tanh", "square"]), inner)
        | st.builds(add, inner, inner)
        | st.builds(multiply, inner, inner)
    ),
    max_leaves=8,
)


@given(TREES)
def test_json_keeps_the_tree(tree: Tree) -> None:
    assert from_json(to_json(tree)) == tree


@given(TREES)
def test_simplifying_twice_changes_nothing_more(tree: Tree) -> None:
    once = simplify(tree)
    assert simplify(once) == once


@given(TREES, TREES)
def test_operands_have_one_order(left: Tree, right: Tree) -> None:
    assert add(left, right) == add(right, left)
    assert multiply(left, right) == multiply(right, left)


@given(TREES, st.data())
def test_replacing_every_subtree_by_itself_keeps_the_tree(tree: Tree, data: st.DataObject) -> None:
    parts = list(subtrees(tree))
    index = data.draw(st.integers(0, len(parts) - 1))
    assert replace_at(tree, index, parts[index]) == simplify(tree)


def test_replacing_reaches_the_right_place() -> None:
    tree = add(apply("exp", X), multiply(constant(2.0), X))
    parts = [describe(replace_at(tree, n, apply("tanh", X))) for n in range(len(list(subtrees(tree))))]
    assert parts[0] == "tanh(x)"
    assert "exp(tanh(x)) + 2 * x" in parts
    assert "exp(x) + 2 * tanh(x)" in parts


def test_neutral_elements_vanish() -> None:
    assert add(X, ZERO) == X
    assert multiply(ONE, X) == X
    assert multiply(ZERO, X) == ZERO
    assert add(X, X) == multiply(constant(2.0), X)
    assert multiply(X, X) == apply("square", X)
    assert add(constant(1.5), constant(2.0)) == Constant(value=3.5)
    assert add(add(X, ONE), ONE) == add(X, constant(2.0))
    assert multiply(constant(2.0), multiply(constant(0.5), X)) == X


def test_a_function_of_a_plain_number_is_not_typed() -> None:
    assert is_typed(add(apply("exp", X), ONE))
    assert not is_typed(add(X, apply("relu", ONE)))
    assert not is_typed(ONE)


def test_depth_counts_operations() -> None:
    assert depth(X) == 0
    assert depth(apply("exp", add(X, ONE))) == 2


@pytest.mark.parametrize("data", ["y", [], ["+", "x"], ["exp"], {"a": 1}, None, True, [1, "x"]])
def test_json_that_is_no_tree_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        from_json(data)  # type: ignore[arg-type]


def test_descriptions_read_like_formulas() -> None:
    tree = multiply(add(apply("softplus", X), constant(-0.5)), apply("square", apply("relu", X)))
    assert describe(tree) == "relu(x)^2 * (softplus(x) - 0.5)"
