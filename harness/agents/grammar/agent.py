"""The offline agent: draws slot contents, recombines and mutates them, and learns which of them the judge
admits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from harness.agents.grammar.edits import choose_edit
from harness.agents.grammar.genome import Genome, from_note
from harness.agents.grammar.growth import change, draw, shrink
from harness.agents.grammar.rewrite import assemble
from harness.agents.grammar.slots import SLOT_KINDS, Content, bodies, known_slots, label
from harness.agents.grammar.weights import Weights, learned
from harness.agents.protocol import Evidence, Operator, Outcome, Proposal, Skeleton, Task
from harness.chance import generator, pick
from verify.source.identity import fingerprint

_TRIES = 24
"""How often one proposal is drawn again because its text is already known."""

_AFRESH = {"operator:draft": 3, "operator:point": 1}
_FROM_GOOD = {"operator:improve": 3, "operator:crossover": 3, "operator:simplify": 1, "operator:point": 2}
_FROM_REJECTED = {"operator:debug": 3, "operator:crossover": 1, "operator:simplify": 1}
"""The operators that fit a parent, and how much they count beside their learned weights."""


@dataclass(frozen=True, kw_only=True)
class _Round:
    """Everything an operator may use for one proposal."""

    rng: random.Random
    weights: Weights
    task: Task
    parent: Genome | None
    good: tuple[Genome, ...]


class GrammarAgent:
    """Deterministic, offline, typed. See `harness.agents` for the design."""

    name = "grammar"
    version = 1

    def propose(self, task: Task, parent: Outcome | None, evidence: Evidence) -> Proposal:
        """A mechanism whose canonical text is new where that can be had in a few draws.

        Raises ValueError where no skeleton of the task has a slot that this grammar can fill.
        """
        if not any(known_slots(skeleton.slots) for skeleton in task.skeletons):
            raise ValueError(
                f"expected a skeleton with one of the slots {sorted(SLOT_KINDS)}, got none in this task"
            )
        weights = learned(evidence.outcomes)
        good = tuple(from_note(outcome.proposal.note) for outcome in evidence.partners)
        proposal: Proposal | None = None
        for attempt in range(_TRIES):
            rng = generator(task.seed, "grammar", evidence.position, attempt)
            origin = parent if attempt < _TRIES // 2 else None
            genome = None if origin is None else from_note(origin.proposal.note)
            scene = _Round(rng=rng, weights=weights, task=task, parent=genome, good=good)
            proposal = _propose_once(scene, origin, evidence.operator)
            if fingerprint(proposal.source) not in evidence.known:
                break
        assert proposal is not None
        return proposal


def _propose_once(scene: _Round, parent: Outcome | None, wanted: Operator | None) -> Proposal:
    operator = _drawn_operator(scene, parent) if wanted is None else "draft" if parent is None else wanted
    genome = _OPERATORS[operator](scene)
    return Proposal(
        source=assemble(scene.task.skeleton(genome.skeleton), genome),
        skeleton=genome.skeleton,
        operator=operator,
        slug=genome.slug(),
        slots=genome.descriptions(),
        note=genome.to_note(),
        parent=None if parent is None else parent.position,
    )


def _drawn_operator(scene: _Round, parent: Outcome | None) -> str:
    scale = _AFRESH
    if parent is not None:
        scale = _FROM_REJECTED if parent.status == "rejected" else _FROM_GOOD
    return scene.weights.choose(scene.rng, [(key, key.partition(":")[2]) for key in scale], scale)


def _draft(scene: _Round) -> Genome:
    """New contents in every slot of a skeleton drawn by weight."""
    usable = [skeleton for skeleton in scene.task.skeletons if known_slots(skeleton.slots)]
    skeleton = scene.weights.choose(scene.rng, [(f"skeleton:{s.name}", s) for s in usable])
    contents = {slot: draw(scene.rng, scene.weights, slot) for slot in known_slots(skeleton.slots)}
    return Genome(skeleton=skeleton.name, contents=contents)


def _crossover(scene: _Round) -> Genome:
    """Each slot from one of two parents, in the skeleton of either."""
    first = _parent(scene)
    second = pick(scene.rng, scene.good) if scene.good else _draft(scene)
    skeleton = pick(scene.rng, (first, second)).skeleton
    contents: dict[str, Content] = {}
    for slot in known_slots(scene.task.skeleton(skeleton).slots):
        donors = [parent.contents[slot] for parent in (first, second) if slot in parent.contents]
        contents[slot] = pick(scene.rng, donors) if donors else draw(scene.rng, scene.weights, slot)
    return Genome(skeleton=skeleton, contents=contents)


def _improve(scene: _Round) -> Genome:
    """One slot's contents grown, wrapped or replaced in part; all its forms are printed again."""
    return _with_slot(scene, _parent(scene), lambda slot, old: change(scene.rng, scene.weights, slot, old))


def _simplify(scene: _Round) -> Genome:
    """One slot's contents replaced by a part of themselves."""
    return _with_slot(scene, _parent(scene), lambda _slot, old: shrink(scene.rng, old))


def _debug(scene: _Round) -> Genome:
    """A rejected parent without its edit, or with new contents in one slot."""
    parent = _parent(scene)
    if parent.edit is not None:
        return replace(parent, edit=None)
    return _with_slot(scene, parent, lambda slot, _old: draw(scene.rng, scene.weights, slot))


def _point(scene: _Round) -> Genome:
    """One body of the source changed by itself."""
    genome = replace(_parent(scene), edit=None)
    skeleton = scene.task.skeleton(genome.skeleton)
    written = {
        name: text
        for slot, content in sorted(genome.contents.items())
        for name, text in zip(skeleton.slots[slot], bodies(content), strict=True)
        # A slot of one function has no other form to disagree with: an edit would only be other contents.
        if len(skeleton.slots[slot]) > 1
    }
    edit = choose_edit(scene.rng, tuple(written.items()), _other_bodies(scene, skeleton))
    return genome if edit is None else replace(genome, edit=edit)


_OPERATORS: Mapping[str, Callable[[_Round], Genome]] = {
    "draft": _draft,
    "crossover": _crossover,
    "improve": _improve,
    "simplify": _simplify,
    "debug": _debug,
    "point": _point,
}


def _parent(scene: _Round) -> Genome:
    return _draft(scene) if scene.parent is None else scene.parent


def _with_slot(scene: _Round, genome: Genome, changed: Callable[[str, Content], Content]) -> Genome:
    slots = sorted(genome.contents)
    # Scales and windows have few contents, which change the least, so they are drawn half as often.
    slots = [slot for slot in slots for _ in range(1 if slot in ("scale", "window") else 2)]
    slot = pick(scene.rng, slots)
    contents = {**genome.contents, slot: changed(slot, genome.contents[slot])}
    return Genome(skeleton=genome.skeleton, contents=contents)


def _other_bodies(scene: _Round, skeleton: Skeleton) -> dict[str, list[tuple[str, str]]]:
    """What each slot function reads in other mechanisms: the productions, then the good ones of this run."""
    found: dict[str, list[tuple[str, str]]] = {}
    for slot in known_slots(skeleton.slots):
        contents = dict(SLOT_KINDS[slot].productions)
        contents.update(
            {label(slot, g.contents[slot]): g.contents[slot] for g in scene.good if slot in g.contents}
        )
        for name, content in contents.items():
            for function, text in zip(skeleton.slots[slot], bodies(content), strict=True):
                found.setdefault(function, []).append((name, text))
    return found
