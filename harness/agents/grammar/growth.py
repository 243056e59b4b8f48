"""Draws and changes slot contents. Nothing here knows which contents are right."""

from __future__ import annotations

import random
from dataclasses import replace

from harness.agents.grammar.functions import GROWN
from harness.agents.grammar.rows import Row
from harness.agents.grammar.scales import Scale
from harness.agents.grammar.score_mods import ScoreMod, Slope
from harness.agents.grammar.slots import SLOT_KINDS, Content, Elementwise
from harness.agents.grammar.trees import (
    Tree,
    X,
    add,
    apply,
    children,
    constant,
    depth,
    is_typed,
    multiply,
    replace_at,
    simplify,
    subtrees,
)
from harness.agents.grammar.weights import Weights
from harness.agents.grammar.windows import Window
from harness.chance import pick

DEEPEST, LARGEST = 4, 12
"""Bounds on a tree: its depth and how many parts it has."""

_CONSTANTS = (0.25, 0.5, 1.0, 2.0, -0.5, -1.0)
_OFFSETS = (1e-6, 1e-3, 1.0)
_FACTORS = (0.1, 0.25, 0.5, 1.0, 2.0)
_POWERS = (-1.0, -0.5, -0.25, 0.0)
_TOKENS = (1, 8, 16, 32, 64, 128)
_PARTS = (0, 2, 3, 4, 8)
_SLOPES: tuple[Slope, ...] = ("even", "geometric", "ladder")
_RATES = {"none": (1.0,), "even": (0.03125, 0.125, 0.5), "geometric": (2.0, 4.0, 8.0), "ladder": (0.125, 1.0)}


def draw(rng: random.Random, weights: Weights, slot: str) -> Content:
    """New contents for a slot: mostly a production, sometimes grown from nothing."""
    if rng.randrange(4):
        options = [(f"{slot}:{name}", content) for name, content in SLOT_KINDS[slot].productions.items()]
        return weights.choose(rng, options)
    match slot:
        case "feature_map":
            return Elementwise(tree=grow(rng, weights, slot, levels=2))
        case "key_norm":
            return _grow_row(rng, weights)
        case "window":
            return _grow_window(rng)
        case "score_mod":
            return _grow_score_mod(rng, weights)
        case _:
            return _grow_scale(rng)


def change(rng: random.Random, weights: Weights, slot: str, content: Content) -> Content:
    """The contents with one part grown, wrapped or replaced."""
    match content:
        case Elementwise(tree=tree):
            return Elementwise(tree=_change_tree(rng, weights, slot, tree))
        case Row(statistic="none"):
            return draw(rng, weights, slot)
        case Row(statistic=statistic, inner=inner, outer=outer):
            match rng.randrange(3):
                case 0:
                    return Row(statistic="max" if statistic == "sum" else "sum", inner=inner, outer=outer)
                case 1:
                    return Row(
                        statistic=statistic, inner=_change_tree(rng, weights, slot, inner), outer=outer
                    )
                case _:
                    return Row(
                        statistic=statistic, inner=inner, outer=_change_tree(rng, weights, slot, outer)
                    )
        case Scale(factor=factor, power=power):
            changed = _grow_scale(rng)
            return (
                Scale(factor=changed.factor, power=power)
                if rng.randrange(2)
                else Scale(factor=factor, power=changed.power)
            )
        case Window():
            return _grow_window(rng)
        case ScoreMod():
            return _change_score_mod(rng, weights, slot, content)


def shrink(rng: random.Random, content: Content) -> Content:
    """The contents with one part replaced by one of its own parts; the plainest contents stay as they are."""
    match content:
        case Elementwise(tree=tree):
            return Elementwise(tree=_shrink_tree(rng, tree))
        case Row(statistic="none"):
            return content
        case Row(statistic=statistic, inner=inner, outer=outer):
            return Row(statistic=statistic, inner=_shrink_tree(rng, inner), outer=outer)
        case Scale(power=power):
            return Scale(power=power)
        case Window():
            return Window()
        case ScoreMod(shape=shape, fade=fade):
            if content.slope != "none" and rng.randrange(2):
                smaller = _shrink_tree(rng, fade)
                return ScoreMod(shape=shape) if smaller == fade else replace(content, fade=smaller)
            return replace(content, shape=_shrink_tree(rng, shape))


def grow(rng: random.Random, weights: Weights, slot: str, *, levels: int) -> Tree:
    """A random tree in the input, at most `levels` choices deep."""
    if levels == 0 or not rng.randrange(5):
        return X
    match rng.randrange(5):
        case 0:
            return add(grow(rng, weights, slot, levels=levels - 1), _number(rng))
        case 1:
            first, second = (grow(rng, weights, slot, levels=levels - 1) for _ in range(2))
            return multiply(first, second) if rng.randrange(2) else add(first, second)
        case _:
            return apply(_function(rng, weights, slot), grow(rng, weights, slot, levels=levels - 1))


def _change_tree(rng: random.Random, weights: Weights, slot: str, tree: Tree) -> Tree:
    """The tree with one subtree changed; a change that leaves the bounds or loses the input is drawn
    again.
    """
    for _ in range(8):
        index = rng.randrange(sum(1 for _ in subtrees(tree)))
        part = list(subtrees(tree))[index]
        changed = replace_at(tree, index, _changed_part(rng, weights, slot, part))
        if changed != tree and is_typed(changed) and depth(changed) <= DEEPEST and _size(changed) <= LARGEST:
            return changed
    return X


def _changed_part(rng: random.Random, weights: Weights, slot: str, part: Tree) -> Tree:
    match rng.randrange(6):
        case 0 | 1:
            return apply(_function(rng, weights, slot), part)
        case 2:
            return add(part, grow(rng, weights, slot, levels=1))
        case 3:
            return multiply(part, grow(rng, weights, slot, levels=1))
        case 4:
            return multiply(_number(rng), part) if rng.randrange(2) else add(part, _number(rng))
        case _:
            return grow(rng, weights, slot, levels=2)


def _shrink_tree(rng: random.Random, tree: Tree) -> Tree:
    inner = [(index, part) for index, part in enumerate(subtrees(tree)) if children(part)]
    if not inner:
        return tree
    index, part = pick(rng, inner)
    options = children(part)
    smaller = replace_at(tree, index, pick(rng, options))
    return smaller if is_typed(smaller) else tree


def _grow_row(rng: random.Random, weights: Weights) -> Row:
    slot = "key_norm"
    inner = grow(rng, weights, slot, levels=2)
    offset = constant(pick(rng, _OFFSETS))
    outer = apply("rsqrt" if rng.randrange(2) else "reciprocal", add(X, offset))
    return Row(statistic="sum" if rng.randrange(3) else "max", inner=simplify(inner), outer=outer)


def _grow_scale(rng: random.Random) -> Scale:
    return Scale(factor=pick(rng, _FACTORS), power=pick(rng, _POWERS))


def _grow_window(rng: random.Random) -> Window:
    return Window(tokens=pick(rng, _TOKENS), parts=pick(rng, _PARTS))


def _grow_score_mod(rng: random.Random, weights: Weights) -> ScoreMod:
    slot = "score_mod"
    slope = pick(rng, _SLOPES)
    shape = grow(rng, weights, slot, levels=1)
    fade = grow(rng, weights, slot, levels=2)
    return ScoreMod(shape=simplify(shape), fade=simplify(fade), slope=slope, rate=pick(rng, _RATES[slope]))


def _change_score_mod(rng: random.Random, weights: Weights, slot: str, content: ScoreMod) -> ScoreMod:
    """Another slope, or one of the trees changed; without a slope there is no fading to change."""
    match rng.randrange(3):
        case 0:
            slope = pick(rng, _SLOPES)
            return replace(content, slope=slope, rate=pick(rng, _RATES[slope]))
        case 1 if content.slope != "none":
            return replace(content, fade=_change_tree(rng, weights, slot, content.fade))
        case _:
            return replace(content, shape=_change_tree(rng, weights, slot, content.shape))


def _function(rng: random.Random, weights: Weights, slot: str) -> str:
    return weights.choose(rng, [(f"{slot}.function:{name}", name) for name in GROWN])


def _number(rng: random.Random) -> Tree:
    return constant(pick(rng, _CONSTANTS))


def _size(tree: Tree) -> int:
    return sum(1 for _ in subtrees(tree))
