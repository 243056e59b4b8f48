"""Can a small model made of a mechanism learn in-context recall?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.compose.engines.cached import Evaluations
from harness.compose.engines.opening import open_engine, open_results
from harness.compose.engines.protocol import Evaluate
from harness.compose.primitives.alphabet import resolve
from harness.compose.primitives.mechanism import PrimitiveRefused
from harness.compose.proxies.presets import preset_of
from harness.compose.proxies.request import ProxyRequest
from harness.objectives.protocol import Passed
from verify.seeds import derive

_TASK, _PRESET = "in-context-recall", "tiny"
_SEEDS = 2
_LAYERS = 2
"""Mechanism and MLP, so often one after the other: the least that recall takes."""


@dataclass(frozen=True, kw_only=True)
class Learnability:
    """The mean accuracy (0 to 1) of two trainings of four layers, mechanism and MLP in turn, at the smallest
    preset of the proxies. None for what is not causal, which cannot be asked. Results are kept under `runs`,
    where `harness compose` keeps its own.
    """

    runs: Path
    workers: int = 1
    evaluation: Evaluate | None = None

    name = "learnability"
    version = 1

    def score(self, passed: Passed) -> float | None:
        """Raises HarnessError where trainings end their workers."""
        if passed.folder is None:
            return None
        candidates = passed.folder.parent.parent
        try:
            alphabet = resolve([f"{passed.folder.parent.name}/{passed.folder.name}", "M"], candidates)
        except PrimitiveRefused:
            return None
        preset = preset_of(_TASK, _PRESET)
        tokens = alphabet.tokens * _LAYERS
        requests = [
            ProxyRequest(
                tokens=tokens,
                identities={**alphabet.identities(tokens), **preset.proxy.identities()},
                task=_TASK,
                preset=_PRESET,
                seed=derive(0, "learnability", number),
                steps=preset.steps,
            )
            for number in range(_SEEDS)
        ]
        with (
            open_results(self.runs) as cache,
            open_engine(
                "local",
                workers=min(self.workers, _SEEDS),
                candidates=candidates,
                runs=self.runs,
                evaluation=self.evaluation,
            ) as engine,
        ):
            results = [answer.result for answer in Evaluations(engine, cache).answers(requests)]
        scores = [result.score for result in results if result is not None]
        return round(sum(scores) / len(scores), 6) if len(scores) == _SEEDS else None
