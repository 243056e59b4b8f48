"""What a run, or one agent of it, may spend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.engine.state import Entry


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """Proposals, tokens read and written by language models, US dollars, and seconds of work; None is no
    limit. Those but the first are looked at between rounds: a round that was begun is finished.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  a command file with other fields is none

    proposals: int | None = None
    tokens: int | None = None
    usd: float | None = None
    seconds: float | None = None

    def reached(self, spent: Spent) -> str | None:
        """The first limit that was reached, in words, or None."""
        limits = (
            (self.proposals, spent.proposals, "{:,} proposals"),
            (self.tokens, spent.tokens, "{:,} tokens"),
            (self.usd, spent.usd, "{:.4f} USD"),
            (self.seconds, spent.seconds, "{:,.0f} s"),
        )
        for limit, used, unit in limits:
            if limit is not None and used >= limit:
                return f"the budget of {unit.format(limit)} is used up ({unit.format(used)})"
        return None


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What was spent so far, as far as servers tell tokens and a price table knows their price."""

    proposals: int = 0
    tokens: int = 0
    usd: float = 0.0
    seconds: float = 0.0

    @classmethod
    def by(cls, entries: Iterable[Entry]) -> Spent:
        """What these proposals took. `seconds` is work of a process: pauses between two are not counted."""
        counted = list(entries)
        return cls(
            proposals=len(counted),
            tokens=sum(entry.proposal.tokens for entry in counted),
            usd=round(sum(entry.proposal.usd for entry in counted), 8),
            seconds=round(sum(entry.seconds for entry in counted), 3),
        )
