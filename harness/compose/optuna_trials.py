"""Our trials in Optuna's form: one categorical parameter per layer, `layer_00` first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.compose.composition import Composition
from harness.compose.search.protocol import SearchSpace, Trial

STATES: Mapping[str, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "duplicate": TrialState.FAIL,
    "infeasible": TrialState.FAIL,
}


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """One choice among the alphabet for each layer."""
    return {_layer(index): CategoricalDistribution(space.alphabet) for index in range(space.layers)}


def composition_of(space: SearchSpace, params: Mapping[str, Any]) -> Composition:
    """The composition that Optuna's parameters name."""
    return Composition(tuple(str(params[_layer(index)]) for index in range(space.layers)))


def frozen(
    trial: Trial,
    space: SearchSpace,
    *,
    rung_means: Sequence[float] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """The trial as Optuna keeps it.

    `rung_means` are its mean scores rung by rung and become intermediate values; by default there is one, the
    fitness at the last rung. Optuna ranks pruned trials by the last rung first, as `Trial.merit` does.
    """
    means = dict(enumerate(rung_means)) if rung_means is not None else _last_mean(trial)
    return create_trial(
        state=STATES[trial.outcome],
        value=trial.fitness if trial.outcome == "complete" else None,
        params={_layer(index): token for index, token in enumerate(trial.composition.tokens)},
        distributions=distributions(space),
        intermediate_values=means,
        user_attrs=dict(attributes or {}),
    )


def quiet() -> None:
    """Optuna's own progress lines would mix with ours on stderr; its warnings stay."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _last_mean(trial: Trial) -> dict[int, float]:
    return {} if trial.fitness is None else {trial.rung: trial.fitness}


def _layer(index: int) -> str:
    return f"layer_{index:02d}"
