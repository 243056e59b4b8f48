"""The table of a design run, the same while it runs and when it is done."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from harness.engine.state import Entry, RunState
from harness.printable import printable

_STYLES = {"pass": "green", "fail": "red", "wait": "dim", "same": "yellow", "none": "yellow", "": ""}


def design_table(state: RunState, *, newest: int | None = None) -> Table:
    """One row per proposal: #, skeleton, slots, operator, quick, full, why. `newest` keeps only that many
    rows.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("skeleton", no_wrap=True)
    table.add_column("slots", ratio=1, overflow="fold")
    table.add_column("operator", no_wrap=True)
    table.add_column("quick", no_wrap=True)
    table.add_column("full", no_wrap=True)
    table.add_column("why", ratio=1, overflow="fold")
    entries = state.entries if newest is None else state.entries[-newest:]
    for entry in entries:
        table.add_row(
            str(entry.position + 1),
            Text(entry.proposal.skeleton.rsplit("/", 1)[-1]),
            Text(slots_text(entry)),
            Text(entry.proposal.operator),
            _cell(_quick(entry)),
            _cell(_full(entry, state)),
            Text(why(entry)),
        )
    return table


def slots_text(entry: Entry) -> str:
    """The slots' contents in one line, in the order of their names."""
    return printable(" | ".join(text for _, text in sorted(entry.proposal.slots.items())))


def why(entry: Entry) -> str:
    """In a few words: the rules that rejected it, what it repeats, or why there was nothing to judge."""
    if entry.proposal.problem:
        return printable(entry.proposal.problem)
    if entry.same_as is not None:
        return f"same text as #{entry.same_as + 1}"
    if entry.behaves_like is not None:
        return f"computes the same as #{entry.behaves_like + 1}"
    if entry.status == "rejected":
        return ", ".join(entry.outcome().rules)
    return "admitted" if entry.status == "admitted" else ""


def _quick(entry: Entry) -> str:
    if entry.proposal.problem:
        return "none"
    if entry.same_as is not None:
        return "same"
    if entry.quick is None:
        return "wait"
    return "fail" if entry.quick.admission == "rejected" else "pass"


def _full(entry: Entry, state: RunState) -> str:
    if entry.full is not None:
        return {"admitted": "pass", "rejected": "fail"}.get(entry.full.admission, "skip")
    chosen = any(entry.position in positions for positions in state.selected.values())
    return "wait" if chosen else ""


def _cell(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))
