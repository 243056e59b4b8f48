"""What the runs came to: means with 95 % intervals, and differences to the control, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.compose.intervals import Interval, paired, t_interval
from harness.policies.comparison.runs import Comparison, Found

CONTROL = "one-shot"
_NUMBERS = ("passed", "cells", "best", "rejected", "duplicate")


def to_json(comparison: Comparison, found: Sequence[Found]) -> dict[str, Any]:
    """Everything that the tables are made of, and the tables."""
    return {
        "document": 1,
        "comparison": comparison.to_json(),
        "runs": [one.to_json() for one in found],
        "means": {
            policy: {name: _json(_mean(found, policy, name)) for name in _NUMBERS}
            for policy in comparison.policies
        },
        "differences_to_one_shot": {
            policy: {name: _json(_difference(found, policy, name)) for name in _NUMBERS}
            for policy in comparison.policies
            if policy != CONTROL and CONTROL in comparison.policies
        },
    }


def print_report(comparison: Comparison, found: Sequence[Found], console: Console) -> None:
    """A table of means, one of differences, and what they show, in a sentence."""
    passed = "admitted" if comparison.depth == "full" else "passed quick"
    titles = (passed, "cells", f"best {comparison.objective}", "rejected", "duplicate")
    console.print(
        _table(
            f"{comparison.budget} proposals, {len(comparison.seeds)} seeds, depth {comparison.depth}: mean, "
            "95 % interval",
            titles,
            [(policy, [_mean(found, policy, n) for n in _NUMBERS]) for policy in comparison.policies],
        )
    )
    others = [policy for policy in comparison.policies if policy != CONTROL]
    if CONTROL not in comparison.policies or not others:
        return
    console.print()
    rows = [(policy, [_difference(found, policy, name) for name in _NUMBERS]) for policy in others]
    console.print(_table(f"Less {CONTROL}, paired by seed", titles, rows, signed=True))
    console.print()
    console.print(_sentence(rows, titles), soft_wrap=True)


def _sentence(rows: Sequence[tuple[str, list[Interval | None]]], titles: Sequence[str]) -> str:
    told = [
        f"{policy} has {'more' if interval.mean > 0 else 'less'} of `{title}`"
        for policy, intervals in rows
        for title, interval in zip(titles, intervals, strict=True)
        if interval is not None and interval.excludes_zero
    ]
    if not told:
        return f"No policy is told apart from {CONTROL} by any of these numbers."
    return f"Told apart from {CONTROL} at 95 %: {'; '.join(told)}."


def _table(
    title: str,
    titles: Sequence[str],
    rows: Sequence[tuple[str, list[Interval | None]]],
    *,
    signed: bool = False,
) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("policy", no_wrap=True)
    for name in titles:
        table.add_column(name, justify="right")
    for policy, intervals in rows:
        table.add_row(policy, *(_text(interval, signed) for interval in intervals))
    return table


def _text(interval: Interval | None, signed: bool) -> str:
    if interval is None:
        return "-"
    sign = "+" if signed else ""
    return f"{interval.mean:{sign}.1f} [{interval.low:{sign}.1f}, {interval.high:{sign}.1f}]"


def _values(found: Sequence[Found], policy: str, name: str) -> list[float] | None:
    """One number a seed; None where a run has none."""
    values = [getattr(one, name) for one in found if one.policy == policy]
    return None if len(values) < 2 or None in values else [float(value) for value in values]


def _mean(found: Sequence[Found], policy: str, name: str) -> Interval | None:
    values = _values(found, policy, name)
    return None if values is None else t_interval(values)


def _difference(found: Sequence[Found], policy: str, name: str) -> Interval | None:
    ours, theirs = _values(found, policy, name), _values(found, CONTROL, name)
    return None if ours is None or theirs is None else paired(ours, theirs)


def _json(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else interval.to_json()
