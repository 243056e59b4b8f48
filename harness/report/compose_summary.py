"""What a composition job leaves to read: one stable JSON document, and the same in tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.compose.accounting import Ledger, ledger, spent_by
from harness.compose.composition import Composition
from harness.compose.controls import Comparison
from harness.compose.extrapolate import Configuration
from harness.compose.pipeline import Finalist, Found, Plan
from harness.compose.retest import Retested
from harness.compose.study import Study
from harness.compose.study_settings import StudySettings
from harness.compose.study_state import Entry, ranked
from harness.printable import printable

DOCUMENT = 1
"""Version of the JSON document."""

SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A finished job. `spent` is what `spent_by` says of each search, by sampler; `unreached` are sizes that
    have no configuration, each with the reason.
    """

    settings: StudySettings
    plan: Plan
    entries: tuple[Entry, ...]
    ledger: Ledger
    found: Found
    comparison: Comparison | None
    spent: Mapping[str, Sequence[tuple[int, float]]]
    configurations: tuple[tuple[Configuration, Path], ...] = ()
    unreached: tuple[str, ...] = ()
    pictures: tuple[Path, ...] = ()

    @classmethod
    def of(cls, study: Study, plan: Plan, found: Found, comparison: Comparison | None) -> Summary:
        entries = tuple(study.state.entries)
        searches = () if comparison is None else comparison.searches
        spent = {one.sampler: one.spent for one in searches} or {study.settings.sampler: spent_by(entries)}
        return cls(
            settings=study.settings,
            plan=plan,
            entries=entries,
            ledger=ledger(entries),
            found=found,
            comparison=comparison,
            spent=spent,
        )

    def top(self) -> list[Composition]:
        """The best trials, as many as are shown."""
        return [entry.composition for entry in ranked(self.entries)[:SHOWN]]

    def complete(self) -> list[tuple[Composition, float]]:
        """Trials that reached the last rung."""
        return [
            (entry.composition, entry.fitness)
            for entry in self.entries
            if entry.outcome == "complete" and entry.fitness is not None
        ]


def document(summary: Summary) -> dict[str, Any]:
    """The job as JSON: the same for the same job, but for what a clock said (`cpu_seconds`, `cached`)."""
    return {
        "document": DOCUMENT,
        "study": summary.settings.study_id,
        "settings": summary.settings.to_json(),
        "plan": summary.plan.to_json(),
        "ledger": summary.ledger.to_json(),
        "trials": [trial_json(entry) for entry in summary.entries],
        "finalists": [_finalist(one) for one in summary.found.finalists],
        "consensus": [
            {"composition": str(one.composition), "method": one.method, "members": one.members,
             "agreement": one.agreement, "searched": one.searched}
            for one in summary.found.consensus
        ],
        "retested": [_retested(one) for one in summary.found.retested],
        "final": [_retested(one) for one in summary.found.final],
        "controls": _controls(summary.comparison),
        "configurations": [
            {"file": path.name, **configuration.to_json()} for configuration, path in summary.configurations
        ],
        "unreached": list(summary.unreached),
        "sentence": last_sentence(summary),
    }  # fmt: skip


def to_text(summary: Summary) -> str:
    """The document as text."""
    return json.dumps(document(summary), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def print_summary(summary: Summary, console: Console) -> None:
    """Finalists, re-tests, the final split, controls, configurations, the ledger, and the last sentence."""
    for table in (
        _finalists_table(summary.found.finalists, summary.settings.task),
        _retested_table(summary),
        configurations_table(summary.configurations),
    ):
        console.print(table)
        console.print()
    if summary.comparison is not None:
        for statement in summary.comparison.statements:
            console.print(Text(str(statement)), soft_wrap=True)
        console.print()
    for reason in summary.unreached:
        console.print(Text(f"no configuration  {reason}"), soft_wrap=True)
    for path in summary.pictures:
        console.print(Text(f"picture  {path}"), soft_wrap=True)
    console.print(Text(f"search: {summary.ledger}"), soft_wrap=True)
    console.print(Text(last_sentence(summary)), soft_wrap=True)


def last_sentence(summary: Summary) -> str:
    """What happened and what to do next."""
    winner, plain = summary.found.final[0], summary.found.final[-1]
    task = summary.settings.task
    if winner.composition == plain.composition:
        said = "is the plain transformer"
    else:
        gap = winner.against(plain)
        verdict = (
            "not told apart from"
            if not gap.excludes_zero
            else "better than"
            if gap.mean > 0
            else "worse than"
        )
        said = f"is {verdict} the plain transformer on the final split of {task}, difference {gap.signed()}"
    return (
        f"Study {summary.settings.study_id}: {summary.found.best.run_length()} {said}. Next: "
        f"`harness compose eval '{summary.found.best}'`, or another --seed."
    )


def _finalists_table(finalists: Sequence[Finalist], task: str) -> Table:
    table = Table(
        title="Finalists, best over all tasks first", title_justify="left", box=None, pad_edge=False
    )
    others = list(finalists[0].others) if finalists else []
    rungs = len({one.rung for one in finalists}) > 1  # their scores on the search's task are not comparable
    table.add_column("trial", justify="right")
    table.add_column("composition", overflow="fold")
    for name in (*(["rung"] if rungs else []), task, *(name.partition("/")[0] for name in others), "mean"):
        table.add_column(Text(printable(name)), justify="right")
    for one in finalists:
        scores = [one.fitness, *(one.others[name] for name in others), one.mean]
        told = [*([str(one.rung)] if rungs else []), *(f"{score:.3f}" for score in scores)]
        table.add_row(str(one.number + 1), one.composition.run_length(), *told)
    return table


def _retested_table(summary: Summary) -> Table:
    title = f"From {summary.plan.seeds} unseen seeds: mean and 95 % interval"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("split")
    table.add_column("composition", overflow="fold")
    table.add_column("score", justify="right")
    for split, results in (("selection", summary.found.retested), ("final", summary.found.final)):
        for one in results:
            table.add_row(split, one.composition.run_length(), str(one.interval))
    return table


def configurations_table(configurations: Sequence[tuple[Configuration, Path]]) -> Table:
    """Sizes and counts."""
    table = Table(
        title="The best, extrapolated; built without storage to check the counts",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for column in (
        "configuration",
        "layers",
        "width",
        "parameters",
        "state, MB",
        "GFLOP a token",
        "unmeasured",
    ):
        table.add_column(column, justify="left" if column in ("configuration", "unmeasured") else "right")
    for one, _ in configurations:
        table.add_row(
            one.name,
            str(len(one.composition)),
            str(one.shape.d_model),
            f"{one.counts.parameters:,}",
            f"{one.counts.state_bytes / 1e6:.1f}",
            f"{one.counts.flops_per_token / 1e9:.2f}",
            ", ".join(one.needs_measured) or "-",
        )
    return table


def trial_json(entry: Entry) -> dict[str, Any]:
    """A trial as plain values."""
    return {
        "number": entry.number + 1,
        "composition": str(entry.composition),
        "outcome": entry.outcome,
        "fitness": entry.fitness,
        "rung": entry.rung,
        "reason": entry.reason,
        "scores": {str(rung): [score.score for score in scores] for rung, scores in entry.scores.items()},
    }


def _finalist(one: Finalist) -> dict[str, Any]:
    return {
        "trial": one.number + 1,
        "composition": str(one.composition),
        "rung": one.rung,
        "fitness": one.fitness,
        "others": dict(one.others),
        "mean": one.mean,
    }


def _retested(one: Retested) -> dict[str, Any]:
    return {
        "composition": str(one.composition),
        "scores": list(one.scores),
        "diverged": one.diverged,
        "interval": one.interval.to_json(),
    }


def _controls(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    return {
        "searches": [
            {"sampler": one.sampler, "ledger": one.ledger.to_json(), "winner": _retested(one.winner)}
            for one in comparison.searches
        ],
        "statements": [statement.to_json() for statement in comparison.statements],
    }
