"""What a study is. All that can change its results is in `StudySettings`, and its name follows from it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.compose.composition import Composition
from harness.compose.halving import Rung, check_rungs
from harness.compose.limits import Limits
from harness.compose.primitives.alphabet import BUILT_IN
from harness.compose.proxies.request import RECIPE, ProxyRequest, Split
from harness.compose.search.protocol import SearchSpace
from harness.errors import WrongUsage
from verify.seeds import derive

Use = Literal["search", "retest", "final"]
"""What a training seed is for; seeds of different uses have nothing in common."""

_BUILT_IN = {primitive.token: primitive.identity for primitive in BUILT_IN}


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """One search.

    identities: (token, what its results hang on) of each token of the alphabet. data: the same of the task's
    data, where that is not made from the seed alone.
    budget: trials at most, repeats and refused ones among them. max_steps: training steps at most, looked at
    between rounds; steps whose results were known are counted as if they had been run, so that searches that
    share a cache are compared at equal cost.
    sized_for: trials that the sampler is sized for, where that is not `budget`.
    rungs: of successive halving; the best 1/`factor` go on. transition: the preset's, see `check_rungs`.
    width: trials in a round, whatever the number of workers.
    Raises WrongUsage for sizes that make no study.
    """

    alphabet: tuple[str, ...]
    identities: tuple[tuple[str, str], ...]
    layers: int
    budget: int
    sampler: str
    seed: int
    task: str
    preset: str
    rungs: tuple[Rung, ...]
    transition: int = 0
    factor: int = 2
    width: int = 8
    max_steps: int | None = None
    sized_for: int | None = None
    limits: Limits | None = None
    data: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("budget", 1), ("width", 1), ("factor", 2)):
            if getattr(self, name) < least:
                raise WrongUsage(f"{name}: expected {least} or more, got {getattr(self, name)}.")
        if tuple(token for token, _ in self.identities) != self.space.alphabet:
            raise WrongUsage(
                f"identities: expected one for each of {' '.join(self.alphabet)} in this order, got "
                f"{' '.join(token for token, _ in self.identities) or 'none'}."
            )
        check_rungs(self.rungs, transition=self.transition)

    @property
    def space(self) -> SearchSpace:
        return SearchSpace(alphabet=self.alphabet, layers=self.layers)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with the version of the training recipe, which is no choice but counts."""
        fields: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {**fields, "recipe": RECIPE}

    @property
    def study_id(self) -> str:
        """E.g. `in-context-recall-tpe-s0-k3v7q2ab`, a folder's name: the same settings, the same study."""
        text = json.dumps(self.to_json(), sort_keys=True)
        digest = base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()
        task = re.sub(r"[^a-z0-9]+", "-", self.task.lower()).strip("-")[-32:]
        return f"{task}-{self.sampler}-s{self.seed}-{digest[:8]}"

    def request(
        self,
        composition: Composition,
        *,
        index: int,
        steps: int,
        use: Use = "search",
        split: Split = "search",
    ) -> ProxyRequest:
        """Train `composition` from the `index`-th seed of that use.

        Seeds follow from the study's seed, the use and the index alone: they are the same for every
        composition, so differences are paired.
        """
        return ProxyRequest(
            tokens=composition.tokens,
            identities={**self.identities_of(composition), **dict(self.data)},
            task=self.task,
            preset=self.preset,
            seed=derive(self.seed, "training", use, index),
            steps=steps,
            split=split,
        )

    def identities_of(self, composition: Composition) -> dict[str, str]:
        """Only those of the tokens that occur: results do not hang on letters that are not used.

        Built-in primitives are known to every study, since the plain transformer is set beside the winner of
        one that searched without attention or MLPs too.
        """
        known = {**_BUILT_IN, **dict(self.identities)}
        return {token: known[token] for token in sorted(set(composition.tokens))}
