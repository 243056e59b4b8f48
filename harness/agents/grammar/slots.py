"""The kinds of slot this grammar can fill, and one face for all kinds of contents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from harness.agents.grammar.functions import derivative
from harness.agents.grammar.printing import torch_body, triton_body
from harness.agents.grammar.productions import FEATURE_MAPS, KEY_NORMS, SCALES, SCORE_MODS, WINDOWS
from harness.agents.grammar.rows import (
    Row,
    describe_row,
    row_from_json,
    row_functions,
    row_to_json,
    torch_row_body,
    triton_row_body,
    triton_row_grad_body,
)
from harness.agents.grammar.scales import (
    Scale,
    describe_scale,
    scale_body,
    scale_from_json,
    scale_to_json,
)
from harness.agents.grammar.score_mods import (
    ScoreMod,
    describe_score_mod,
    score_mod_from_json,
    score_mod_functions,
    score_mod_to_json,
    torch_score_mod_body,
    triton_score_mod_body,
    triton_score_mod_grad_body,
)
from harness.agents.grammar.trees import (
    Apply,
    Json,
    Tree,
    describe,
    from_json,
    functions_of,
    subtrees,
    to_json,
)
from harness.agents.grammar.windows import (
    Window,
    describe_window,
    window_body,
    window_from_json,
    window_to_json,
)


@dataclass(frozen=True, kw_only=True)
class Elementwise:
    """The contents of an elementwise slot."""

    tree: Tree


Content: TypeAlias = Elementwise | Row | Scale | Window | ScoreMod


@dataclass(frozen=True, kw_only=True)
class SlotKind:
    """A slot this grammar knows: how many functions it has, and what to start from."""

    name: str
    functions: int
    productions: Mapping[str, Content]


SLOT_KINDS: Mapping[str, SlotKind] = {
    kind.name: kind
    for kind in (
        SlotKind(
            name="feature_map",
            functions=3,
            productions={name: Elementwise(tree=tree) for name, tree in FEATURE_MAPS.items()},
        ),
        SlotKind(name="key_norm", functions=3, productions=KEY_NORMS),
        SlotKind(name="scale", functions=1, productions=SCALES),
        SlotKind(name="window", functions=1, productions=WINDOWS),
        SlotKind(name="score_mod", functions=3, productions=SCORE_MODS),
    )
}


def known_slots(slots: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The slots of a skeleton that this grammar can fill, sorted; the others keep the skeleton's contents."""
    return tuple(
        sorted(
            name
            for name, functions in slots.items()
            if name in SLOT_KINDS and len(functions) == SLOT_KINDS[name].functions
        )
    )


def bodies(content: Content) -> tuple[str, ...]:
    """One function body per function of the slot, in SPEC order: torch form, Triton form, derivative form."""
    match content:
        case Elementwise(tree=tree):
            return torch_body(tree), triton_body(tree), triton_body(derivative(tree))
        case Row():
            return torch_row_body(content), triton_row_body(content), triton_row_grad_body(content)
        case Scale():
            return (scale_body(content),)
        case Window():
            return (window_body(content),)
        case ScoreMod():
            return (
                torch_score_mod_body(content),
                triton_score_mod_body(content),
                triton_score_mod_grad_body(content),
            )


def describe_content(content: Content) -> str:
    """The contents as a reader writes them."""
    match content:
        case Elementwise(tree=tree):
            return describe(tree)
        case Row():
            return describe_row(content)
        case Scale():
            return describe_scale(content)
        case Window():
            return describe_window(content)
        case ScoreMod():
            return describe_score_mod(content)


def label(slot: str, content: Content) -> str:
    """A short name for slugs: the production's, or the functions in it from the outside in."""
    for name, production in SLOT_KINDS[slot].productions.items():
        if production == content:
            return name
    match content:
        case Elementwise(tree=tree):
            return "-".join(_names(tree)) or "affine"
        case Row(statistic=statistic, inner=inner, outer=outer):
            return "-".join((*_names(outer), statistic, *_names(inner)))
        case Scale(factor=factor, power=power):
            return f"scale{factor:g}k{power:g}".replace(".", "p").replace("-", "m")
        case Window(tokens=tokens, parts=parts):
            return f"window{tokens}" if parts == 0 else f"window{tokens}t{parts}"
        case ScoreMod(shape=shape, fade=fade, slope=slope, rate=rate):
            fading = [] if slope == "none" else [f"{slope}{rate:g}".replace(".", "p"), *_names(fade)]
            return "-".join((*_names(shape), *fading)) or "affine"


def content_functions(content: Content) -> tuple[str, ...]:
    """The named functions in it, sorted, without repeats."""
    match content:
        case Elementwise(tree=tree):
            return functions_of(tree)
        case Row():
            return row_functions(content)
        case ScoreMod():
            return score_mod_functions(content)
        case Scale() | Window():
            return ()


def content_to_json(content: Content) -> Json:
    """The contents as the store holds them."""
    match content:
        case Elementwise(tree=tree):
            return to_json(tree)
        case Row():
            return row_to_json(content)
        case Scale():
            return scale_to_json(content)
        case Window():
            return window_to_json(content)
        case ScoreMod():
            return score_mod_to_json(content)


def content_from_json(slot: str, data: Json) -> Content:
    """The contents that `content_to_json` wrote. Raises ValueError for anything else."""
    if slot == "feature_map":
        return Elementwise(tree=from_json(data))
    if slot == "key_norm":
        return row_from_json(data)
    if slot == "scale":
        return scale_from_json(data)
    if slot == "window":
        return window_from_json(data)
    if slot == "score_mod":
        return score_mod_from_json(data)
    raise ValueError(f"expected one of {sorted(SLOT_KINDS)}, got {slot!r}")


def _names(tree: Tree) -> list[str]:
    return [part.function.replace("_", "") for part in subtrees(tree) if isinstance(part, Apply)][:4]
