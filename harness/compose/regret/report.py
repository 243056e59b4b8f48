"""The regret study for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.compose.regret.ranking import Agreement
from harness.compose.regret.replay import WHOLE, Regret
from harness.compose.regret.table import ScoreTable

SHOWN = 5


def to_json(table: ScoreTable, regrets: Sequence[Regret], agreements: Sequence[Agreement]) -> dict[str, Any]:
    """One document: settings, every score, regrets and correlations. `cpu_seconds` is the only measurement
    of time in it.
    """
    return {
        "settings": table.settings.to_json(),
        "seeds": table.seeds,
        "cpu_seconds": round(table.cpu_seconds, 3),
        "cached": table.cached,
        "scores": [
            {"composition": str(composition), "rungs": [scores[place].tolist() for scores in table.scores]}
            for place, composition in enumerate(table.compositions)
        ],
        "regret": [regret.to_json() for regret in regrets],
        "agreement": [agreement.to_json() for agreement in agreements],
    }


def print_report(
    table: ScoreTable, regrets: Sequence[Regret], agreements: Sequence[Agreement], console: Console
) -> None:
    """Tables, and a sentence for each searcher."""
    console.print(_best(table))
    console.print(_regrets(regrets))
    console.print(_agreements(agreements))
    for regret in regrets:
        if regret.versus_random is not None and regret.sampler != WHOLE:
            console.print(sentence(regret), soft_wrap=True)
    console.print(
        f"{table.evaluations} evaluations, {table.cached} of them from the cache; "
        f"{table.cpu_seconds:.1f} CPU seconds.",
        soft_wrap=True,
    )


def sentence(regret: Regret) -> str:
    """Whether the searcher beats random search in the replays."""
    difference = regret.versus_random
    assert difference is not None
    beats = "not shown" if not difference.excludes_zero else "yes" if difference.mean < 0 else "no"
    return f"{regret.sampler} beats random: {beats}, difference of regrets {difference.signed()}"


def _best(table: ScoreTable) -> Table:
    truth = table.truth(range(table.seeds))
    spread = table.scores[-1].std(axis=1, ddof=1)
    shown = Table(
        title=f"Best of {len(truth)} at {table.settings.rungs[-1].steps} steps, {table.seeds} seeds"
    )
    for column in ("composition", "mean score", "standard deviation"):
        shown.add_column(column, justify="left" if column == "composition" else "right")
    for place in sorted(range(len(truth)), key=lambda n: (-truth[n], n))[:SHOWN]:
        shown.add_row(str(table.compositions[place]), f"{truth[place]:.4f}", f"{spread[place]:.4f}")
    return shown


def _regrets(regrets: Sequence[Regret]) -> Table:
    shown = Table(title="Regret: best score minus that of the choice, mean [95 % interval]")
    for column in ("searcher", "evaluations", "replays", "regret", "minus random's"):
        shown.add_column(column, justify="left" if column == "searcher" else "right")
    for regret in regrets:
        versus = "" if regret.versus_random is None else regret.versus_random.signed()
        shown.add_row(
            regret.sampler, str(regret.evaluations), str(len(regret.regrets)), str(regret.interval), versus
        )
    return shown


def _agreements(agreements: Sequence[Agreement]) -> Table:
    shown = Table(title="Rank correlation of each rung with the full budget on unseen seeds [95 % interval]")
    for column in ("steps", "seeds", "Spearman", "Kendall"):
        shown.add_column(column, justify="right")
    for one in agreements:
        shown.add_row(str(one.steps), str(one.seeds), _triple(one.spearman), _triple(one.kendall))
    return shown


def _triple(values: tuple[float, float, float] | None) -> str:
    if values is None:
        return "no ranking"
    return f"{values[0]:.3f} [{values[1]:.3f}, {values[2]:.3f}]"
