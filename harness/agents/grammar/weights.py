"""What the search has learned: integer weights, replayed from outcomes in proposal order.

An outcome credits everything that went into it. Integers keep the replay exact on every machine, and bounds
keep every choice possible: what was rejected becomes rare, never impossible.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from harness.agents.grammar.genome import Genome, from_note
from harness.agents.grammar.slots import content_functions
from harness.agents.protocol import Outcome
from harness.chance import pick_weighted

START, LOWEST, HIGHEST = 12, 2, 48

_REWARD = {"admitted": 6, "clean": 3, "duplicate": -1}
_COST: Mapping[str, int] = {
    "PAR": -4,
    "POL": -4,
    "LCK": -4,
    "CON": -4,
    "NUM": -3,
    "GRD": -3,
    "PRP": -3,
    "MEM": -3,
    "SUB": -1,
}
"""Credit of a rejection by stage, the dearest counting; SUB mostly says that a candidate is not new."""
_OTHER_COST = -2

_Choice = TypeVar("_Choice")


class Weights:
    """Weights by key; a key is what a choice is called, e.g. `operator:improve` or `feature_map:softplus`."""

    def __init__(self) -> None:
        self._values: dict[str, int] = defaultdict(lambda: START)

    def __getitem__(self, key: str) -> int:
        return self._values[key]

    def credit(self, keys: Iterable[str], amount: int) -> None:
        for key in keys:
            self._values[key] = max(LOWEST, min(HIGHEST, self._values[key] + amount))

    def choose(
        self,
        rng: random.Random,
        options: Sequence[tuple[str, _Choice]],
        scale: Mapping[str, int] | None = None,
    ) -> _Choice:
        """One option, drawn by the weight of its key, times `scale` of the key where given."""
        factors = scale or {}
        weighted = [(self._values[key] * factors.get(key, 1), option) for key, option in options]
        return pick_weighted(rng, weighted)


def learned(outcomes: Iterable[Outcome]) -> Weights:
    """The weights after `outcomes`, which are in proposal order; pending ones say nothing."""
    weights = Weights()
    for outcome in outcomes:
        amount = credit_of(outcome)
        if amount == 0:
            continue
        genome = from_note(outcome.proposal.note)
        weights.credit((f"operator:{outcome.proposal.operator}", f"skeleton:{genome.skeleton}"), amount)
        if genome.edit is None and outcome.status != "duplicate":
            weights.credit(keys_of(genome), amount)
    return weights


def credit_of(outcome: Outcome) -> int:
    """What an outcome adds to the weight of all that went into it."""
    if outcome.status == "rejected":
        stages = {finding.stage for finding in outcome.findings}
        return min((_COST.get(stage, _OTHER_COST) for stage in stages), default=_OTHER_COST)
    return _REWARD.get(outcome.status, 0)


def keys_of(genome: Genome) -> tuple[str, ...]:
    """The keys of a genome's contents: one per slot, one per named function in it."""
    keys = [f"{slot}:{label}" for slot, label in genome.labels().items()]
    for slot, content in sorted(genome.contents.items()):
        keys.extend(f"{slot}.function:{name}" for name in content_functions(content))
    return tuple(keys)
