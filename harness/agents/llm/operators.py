"""Draft, debug, improve, crossover, simplify: which one comes next, on which file, and what the model is
told.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.agents.llm import evidence as told
from harness.agents.llm.contract import family_notes, rules_text
from harness.agents.llm.prompts import prompt
from harness.agents.llm.protocol import Message
from harness.agents.llm.texts import function_texts
from harness.agents.protocol import Ask, Outcome, Skeleton, Task
from harness.chance import generator, pick, pick_weighted
from verify.source.lock import DEFAULT_TEMPLATES

FREE = "free"

_FROM_GOOD = [(3, "improve"), (2, "crossover"), (1, "simplify")]
_FROM_REJECTED = [(4, "debug"), (1, "draft")]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One proposal before the model is asked. `template` is what the answer's SPEC must name, `base` the file
    that patches apply to, `parent` the position it grows from, `shown` the identities of the skeletons.
    """

    position: int
    operator: str
    template: str
    base: str
    parent: int | None
    shown: frozenset[str]
    messages: tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """Everything that a prompt may speak of."""

    task: Task
    ask: Ask
    template: str
    base: str
    mate: Outcome | None = None

    @property
    def parent(self) -> Outcome:
        assert self.ask.parent is not None, "every operator but draft has a parent"
        return self.ask.parent

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        return self.ask.evidence.outcomes


def plan(task: Task, ask: Ask, templates: Path = DEFAULT_TEMPLATES) -> Plan:
    """The operator that fits the parent, drawn by weight, and its prompt: a function of the arguments."""
    position = ask.evidence.position
    rng = generator(task.seed, "llm", position)
    operator, mate = _operator(ask, position, task.seed)
    parent = None if operator == "draft" else ask.parent
    if parent is None:
        skeleton = pick(rng, task.skeletons)
        template, base = template_of(skeleton.name), skeleton.source
    else:
        template, base = parent.proposal.skeleton, parent.proposal.source
    ask = replace(ask, parent=parent)
    scene = _Scene(task=task, ask=ask, template=template, base=base, mate=mate)
    fields = {
        "source": _fenced(base),
        "template": template,
        "tried": told.tried(scene.outcomes, template),
        "failures": _failures(scene),
        "number": str(position + 1),
        "seed": str(task.seed),
        **_FIELDS[operator](scene),
    }
    return Plan(
        position=position,
        operator=operator,
        template=template,
        base=base,
        parent=None if parent is None else parent.position,
        shown=frozenset(skeleton.fingerprint for skeleton in task.skeletons),
        messages=(
            _system(template, templates),
            Message(role="user", text=prompt(operator).substitute(fields)),
        ),
    )


def template_of(name: str) -> str:
    """What the SPEC of a file of that skeleton names: examples of `free` are all of one template."""
    return FREE if name.split("/", 1)[0] == FREE else name


def _operator(ask: Ask, position: int, seed: int) -> tuple[str, Outcome | None]:
    """The operator, and for a crossover the other parent; without one, a crossover becomes an improvement."""
    rng = generator(seed, "llm operator", position)
    if ask.parent is None:
        return "draft", None
    mates = _mates(ask.evidence.partners, ask.parent)
    operator = ask.evidence.operator or _drawn_operator(rng, ask.parent, mates)
    if operator == "crossover" and not mates:
        operator = "improve"
    return operator, pick(rng, mates) if operator == "crossover" else None


def _drawn_operator(rng: random.Random, parent: Outcome, mates: Sequence[Outcome]) -> str:
    if parent.status == "rejected":
        return pick_weighted(rng, _FROM_REJECTED)
    return pick_weighted(rng, _FROM_GOOD if mates else [w for w in _FROM_GOOD if w[1] != "crossover"])


def _mates(partners: Sequence[Outcome], parent: Outcome) -> list[Outcome]:
    """Others of the parent's family."""
    family = parent.proposal.skeleton.split("/", 1)[0]
    return [
        outcome
        for outcome in partners
        if outcome.position != parent.position and outcome.proposal.skeleton.split("/", 1)[0] == family
    ]


def _system(template: str, templates: Path) -> Message:
    family = template.split("/", 1)[0]
    text = prompt("system").substitute(
        rules=rules_text(), family=family, notes=family_notes(family, templates).rstrip("\n")
    )
    return Message(role="system", text=text)


def _fenced(code: str) -> str:
    """A code block whose fence is longer than any in the code, which a model may have written to end it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    return "\n".join([f"{fence}python", code.rstrip("\n"), fence])


def _failures(scene: _Scene) -> str:
    lines = told.failures(scene.outcomes, scene.ask.parent, scene.template)
    return f"\nEarlier answers to this were unusable:\n{lines}\n" if lines else ""


def _draft(scene: _Scene) -> dict[str, str]:
    if scene.template == FREE:
        task = (
            'SPEC\'s template is "free": the file below only shows the form, and a mechanism that computes '
            "the same is refused. Write a whole file."
        )
    else:
        task = f"SPEC's template stays {scene.template}: fill its slots with contents of your own."
    return {"task": task}


def _debug(scene: _Scene) -> dict[str, str]:
    return {"evidence": told.rejection(scene.parent, _passing(scene))}


def _passing(scene: _Scene) -> dict[str, str]:
    """Files of the template that pass, which the rejected one may be a change of: skeletons and proposals."""
    skeletons = {s.name: s.source for s in scene.task.skeletons if template_of(s.name) == scene.template}
    proposals = {
        f"proposal {outcome.position + 1}": outcome.proposal.source
        for outcome in scene.outcomes
        if outcome.status in ("admitted", "clean") and outcome.proposal.skeleton == scene.template
    }
    return skeletons | proposals


def _improve(scene: _Scene) -> dict[str, str]:
    return {"evidence": told.numbers(scene.parent)}


def _crossover(scene: _Scene) -> dict[str, str]:
    assert scene.mate is not None, "a crossover has two parents"
    mate = scene.mate.proposal
    skeleton = next((s for s in scene.task.skeletons if s.name == mate.skeleton), None)
    return {"mate": _fenced(mate.source if skeleton is None else _slot_texts(mate.source, skeleton))}


def _slot_texts(source: str, skeleton: Skeleton) -> str:
    """The functions of a file that differ from its skeleton's, since all else is the skeleton."""
    names = [name for functions in skeleton.slots.values() for name in functions]
    return "\n\n\n".join(function_texts(source, names))


_FIELDS: dict[str, Callable[[_Scene], dict[str, str]]] = {
    "draft": _draft,
    "debug": _debug,
    "improve": _improve,
    "crossover": _crossover,
    "simplify": lambda _: {},
}
