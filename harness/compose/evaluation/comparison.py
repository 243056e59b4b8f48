"""Models side by side: each metric with its standard error, its distance from chance, and from the first
model, item by item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from harness.compose.evaluation.estimates import Estimate, paired
from harness.compose.evaluation.scores import Evaluation, Score
from harness.compose.model import ComposedModel

CLEAR = 2.0
"""Standard errors from which on a score counts as above chance."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A model that was evaluated. `folder` is where it is saved, None for one that was only initialised."""

    name: str
    composition: str
    parameters: int
    folder: Path | None
    evaluation: Evaluation

    @classmethod
    def of(cls, name: str, model: ComposedModel, folder: Path | None, evaluation: Evaluation) -> Contender:
        return cls(
            name=name,
            composition=model.composition.run_length(),
            parameters=sum(value.numel() for value in model.parameters()),
            folder=folder,
            evaluation=evaluation,
        )

    def score(self, task: str, metric: str) -> Score | None:
        """Its score on that metric, if it has one."""
        return next((s for s in self.evaluation.scores if (s.task, s.metric) == (task, metric)), None)


def difference(ours: Score, theirs: Score) -> Estimate | None:
    """Ours minus theirs over the same items; None where items of their own are not known."""
    if ours.per_item is None or theirs.per_item is None or len(ours.per_item) != len(theirs.per_item):
        return None
    sizes = [size for _, size in ours.per_item]
    return paired([n for n, _ in ours.per_item], [n for n, _ in theirs.per_item], sizes)


def table(contenders: Sequence[Contender]) -> Table:
    """A row for each metric and model, with what each model is below; differences are from the first."""
    what = "\n".join(f"{contender.name}: {contender.composition}" for contender in contenders)
    shown = Table(box=None, pad_edge=False, caption=what, caption_justify="left", caption_style="")
    for column in ("task", "metric", "model"):
        shown.add_column(column, overflow="fold")
    for column in ("parameters", "value", "above chance", f"minus {contenders[0].name}"):
        shown.add_column(column, justify="right")
    for score in contenders[0].evaluation.scores:
        for contender in contenders:
            shown.add_row(*_row(score, contender, contenders[0]))
        shown.add_section()
    return shown


def to_json(contenders: Sequence[Contender]) -> list[dict[str, Any]]:
    """Every model with its scores; `minus_first` are paired differences from the first model."""
    return [
        {
            "name": contender.name,
            "composition": contender.composition,
            "parameters": contender.parameters,
            "folder": None if contender.folder is None else str(contender.folder),
            "scores": [_score_json(score, contenders[0]) for score in contender.evaluation.scores],
        }
        for contender in contenders
    ]


def _score_json(score: Score, first: Contender) -> dict[str, Any]:
    theirs = first.score(score.task, score.metric)
    gap = None if theirs is None or theirs is score else difference(score, theirs)
    return {
        "task": score.task,
        "metric": score.metric,
        "value": score.estimate.value,
        "stderr": score.estimate.stderr,
        "items": score.items,
        "higher_is_better": score.higher_is_better,
        "chance": score.chance,
        "stderrs_above_chance": None if score.chance is None else score.estimate.above(score.chance),
        "minus_first": None if gap is None else asdict(gap),
    }


def _row(score: Score, contender: Contender, first: Contender) -> list[str]:
    ours = contender.score(score.task, score.metric)
    arrow = "↑" if score.higher_is_better else "↓"
    row = [score.task, f"{score.metric}{arrow}", contender.name, f"{contender.parameters:,}"]
    if ours is None:
        return [*row, "-", "-", "-"]
    gap = None if contender is first else difference(ours, score)
    return [
        *row,
        _shown(ours.estimate),
        _above(ours),
        "-" if gap is None else _shown(gap, sign="+"),
    ]


def _shown(estimate: Estimate, *, sign: str = "") -> str:
    value = f"{estimate.value:{sign}.4f}"
    return value if estimate.stderr is None else f"{value} ± {estimate.stderr:.4f}"


def _above(score: Score) -> str:
    if score.chance is None:
        return "-"
    above = score.estimate.above(score.chance)
    if above is None:
        return "unknown"
    return f"{above:+.1f} stderr" if above >= CLEAR else f"{above:+.1f} stderr, may be luck"
