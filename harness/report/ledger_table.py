"""The ledger as tables."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from harness.engine.settings import Settings
from harness.engine.state import RunState
from harness.printable import printable
from harness.report.ledger import ledger, measured


def ledger_table(settings: Settings, state: RunState) -> Table:
    """What was tried and what it cost, in all."""
    counts, clocks = ledger(settings, state), measured(settings, state)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name in ("attempted", "unusable", "duplicate", "rejected", "clean", "admitted"):
        table.add_row(name, str(counts[name]))
    for rule, count in counts["invalid"].items():
        table.add_row(f"invalid by {rule}", str(count))
    table.add_row("valid submissions", f"{counts['valid_submissions']} of {counts['attempted']}")
    table.add_row(f"best {settings.objective.partition('/')[0]}", _number(counts["best_score"]))
    table.add_row("LLM answers", str(counts["llm_answers"]))
    table.add_row("LLM tokens", _of_all(str(counts["llm_tokens"]), counts["llm_answers_uncounted"]))
    table.add_row("USD", _of_all(f"{counts['usd']:.4f}", counts["llm_answers_unpriced"]))
    table.add_row("CPU seconds", f"{clocks['cpu_seconds']:.1f}")
    table.add_row("CPU seconds per admitted", _number(clocks["cpu_seconds_per_admitted"]))
    table.add_row("GPU seconds", "0.0")
    return table


def agents_table(settings: Settings, state: RunState) -> Table:
    """One row for each agent of an ensemble."""
    counts, clocks = ledger(settings, state), measured(settings, state)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("agent", overflow="fold")
    table.add_column("policy", no_wrap=True)
    for name in ("attempted", "valid", "admitted", "best", "tokens", "USD", "CPU s", "most often invalid by"):
        table.add_column(name, justify="left" if name.startswith("most") else "right")
    for row in counts["agents"]:
        table.add_row(
            Text(printable(row["name"])),
            row["policy"].partition("/")[0],
            str(row["attempted"]),
            "-" if row["valid_submission_rate"] is None else f"{row['valid_submission_rate']:.0%}",
            str(row["admitted"]),
            _number(row["best_score"]),
            _of_all(str(row["llm_tokens"]), row["llm_answers_uncounted"]),
            _of_all(f"{row['usd']:.4f}", row["llm_answers_unpriced"]),
            f"{clocks['agents'][row['name']]['cpu_seconds']:.1f}",
            _most(row["invalid"]),
        )
    return table


def _most(invalid: dict[str, int]) -> str:
    ranked = sorted(invalid.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{rule} {count}" for rule, count in ranked[:3])


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:g}"


def _of_all(number: str, unknown: int) -> str:
    """A sum, and how many answers are not in it."""
    return f"{number}, and {unknown} answers unknown" if unknown else number
