"""Make a failing case small: fewer elements, and nothing in play that the failure does not need.

A greedy descent of our own, since a case is a handful of whole numbers and choices: try the plainest case at
once, then choice by choice, then each dimension by halving the gap between what passes and what fails. The
predicate is arbitrary, so the result is small but not proved smallest. Nothing here is part of a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from verify.judge.cases import Case
from verify.source.contract import TIME, Spec

RUNS = 40
"""How often a case may be run."""

PLAINER: dict[str, tuple[Any, ...]] = {
    "tuning": (0,),
    "layout": ("dense", "transposed", "gapped"),
    "needs": (None,),
    "cotangent": ("random", "one_hot", "expanded", "transposed", "zero"),
    "scale": (1.0,),
    "gate": ("none", "typical", "strong"),
    "state": ("zero", "random"),
    "dtype": ("float32",),
    "draw": (0,),
}
"""Field of Case -> its values, plainest first; a value that is not listed is the least plain."""


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """The smallest failing case found, the runs it took, and whether the budget ended the search."""

    case: Case
    runs: int
    exhausted: bool


class _Spent(Exception):
    """No run is left."""


def shrink(case: Case, spec: Spec, fails: Callable[[Case], bool], *, runs: int = RUNS) -> Shrunk:
    """The smallest case found for which `fails` still holds, no larger than `case` in any dimension.

    `fails(case)` must be true and is not asked. Deterministic if `fails` is; it is asked at most `runs`
    times, never twice about one case, and only about sizes that the SPEC allows.
    """
    search = _Search(case, spec, fails, runs)
    exhausted = False
    try:
        while search.sweep():
            pass
    except _Spent:
        exhausted = True
    return Shrunk(case=search.best, runs=len(search.answers), exhausted=exhausted)


class _Search:
    def __init__(self, case: Case, spec: Spec, fails: Callable[[Case], bool], runs: int) -> None:
        self.best = case
        self.answers: dict[Case, bool] = {}
        self._spec, self._fails, self._runs = spec, fails, runs
        self._known = {case}
        domains = {entry.domain for entry in spec.differentiated}
        self._absent = {
            **({} if spec.state else {"state": "random"}),
            **({} if "log_decay" in domains else {"gate": "typical"}),
        }

    def sweep(self) -> bool:
        """Try every kind of step once; False if none made the case smaller."""
        before = self.best
        plain = self._plain(self.best)
        # Most failures need nothing special and show at any size but one: two runs settle these.
        if not self._try(self._low(plain, keep=(TIME,))):
            self._try(plain)
        self._simplify()
        self._try(self._low(self.best, keep=(TIME,)))
        self._try(self._low(self.best, keep=()))
        for name in sorted(self.best.size_map, key=lambda name: name == TIME):
            self._reduce(name)
        return self.best != before

    def _try(self, case: Case) -> bool:
        """Take the case if it is another one and fails."""
        if case == self.best:
            return True
        if case not in self.answers:
            if case in self._known or not self._allowed(case):
                return False
            if len(self.answers) >= self._runs:
                raise _Spent
            self.answers[case] = self._fails(case)
        if self.answers[case]:
            self.best = case
        return self.answers[case]

    def _allowed(self, case: Case) -> bool:
        try:
            self._spec.resolve(case.size_map)
        except ValueError:
            return False
        return case.dtype in self._spec.dtypes

    def _plain(self, case: Case) -> Case:
        return replace(case, **{name: values[0] for name, values in PLAINER.items()} | self._absent)

    def _simplify(self) -> None:
        """Make one field after the other plainer, each as plain as it can be."""
        for name, values in PLAINER.items():
            current = getattr(self.best, name)
            rank = values.index(current) if current in values else len(values)
            plainer = (self._absent[name],) if name in self._absent else values[:rank]
            for value in plainer:
                if self._try(replace(self.best, **{name: value})):
                    break

    def _low(self, case: Case, *, keep: tuple[str, ...]) -> Case:
        """The case with every dimension but those in `keep` at its smallest."""
        return replace(
            case,
            sizes=tuple((name, size if name in keep else self._least(name)) for name, size in case.sizes),
        )

    def _reduce(self, name: str) -> None:
        """Halve the gap between the largest size known to pass and the best one."""
        passes = self._least(name) - 1
        while self.best.size_map[name] - passes > 1:
            size = self.best.size_map[name]
            # The smallest is tried first: it decides at once for most dimensions.
            tried = self._least(name) if passes < self._least(name) else (passes + size) // 2
            if not self._try(self._sized(name, tried)):
                passes = tried

    def _sized(self, name: str, size: int) -> Case:
        return replace(self.best, sizes=tuple((n, size if n == name else s) for n, s in self.best.sizes))

    def _least(self, name: str) -> int:
        """The smallest size of a dimension, and never above what the best case has."""
        return min(self._spec.dims[name].low, self.best.size_map[name])
