"""Read a case back from the text that findings quote (`Case.label`), so that a person can paste it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, get_args

from verify.judge.cases import Case, CotangentKind, GateKind, LayoutKind, StateKind
from verify.source.static import Mechanism

EXAMPLE = "B=1 T=33 H=2 K=16 V=5, float32, gapped inputs, needs q+k"

_SIZES = re.compile(r"[A-Za-z_]\w*=\d+( [A-Za-z_]\w*=\d+)*")


def _words(kind: Any) -> str:
    return "|".join(get_args(kind))


def _scale(text: str) -> float:
    """The number behind six printed digits: the power of two that prints so, where there is one."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"expected a scale that is a number, got {text!r}") from None
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"expected a positive scale, got {text!r}")
    power = 2.0 ** round(math.log2(value))
    return power if f"{power:g}" == f"{value:g}" else value


_PARTS: Mapping[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    "tuning": (re.compile(r"tuning (\d+)"), int),
    "layout": (re.compile(rf"({_words(LayoutKind)}) inputs"), str),
    "scale": (re.compile(r"scale (\S+)"), _scale),
    "gate": (re.compile(rf"({_words(GateKind)}) gates"), str),
    "state": (re.compile(rf"({_words(StateKind)}) state"), str),
    "cotangent": (re.compile(rf"({_words(CotangentKind)}) cotangent"), str),
    "needs": (
        re.compile(r"needs (\w+(?:\+\w+)*)"),
        lambda text: () if text == "nothing" else tuple(text.split("+")),
    ),
    "draw": (re.compile(r"draw (\d+)"), int),
}
"""Field of Case -> how its part of the text looks, and what it means."""


def parse_case(text: str) -> Case:
    """The case whose label is `text`: sizes, dtype, then whatever differs from the plain case, in any order.

    Raises ValueError that names the part it cannot read.
    """
    sizes, _, rest = text.strip().partition(",")
    dtype, *parts = [part.strip() for part in rest.split(",")]
    if not _SIZES.fullmatch(sizes) or not dtype:
        raise ValueError(f"expected a case such as {EXAMPLE!r}, got {text[:200]!r}")
    pairs = [pair.split("=") for pair in sizes.split()]
    fields: dict[str, Any] = {}
    for part in parts:
        name, value = _field(part)
        if name in fields:
            raise ValueError(f"expected one {name}, got another in {part!r}")
        fields[name] = value
    return Case(sizes=tuple((name, int(size)) for name, size in pairs), dtype=dtype, **fields)


def case_elements(text: str) -> float:
    """How large a case is, by its text: the product of its sizes; infinite for text that is no case."""
    try:
        return math.prod(parse_case(text).size_map.values())
    except ValueError:
        return math.inf


def fit_case(case: Case, mechanism: Mechanism) -> Case:
    """The case with its sizes in the SPEC's order. Raises ValueError where the mechanism has no such case."""
    spec = mechanism.spec
    if len(case.size_map) != len(case.sizes):
        raise ValueError(f"expected every dimension once, got {' '.join(name for name, _ in case.sizes)}")
    spec.resolve(case.size_map)
    if case.dtype not in spec.dtypes:
        raise ValueError(f"expected a dtype of {list(spec.dtypes)}, got {case.dtype!r}")
    if case.tuning >= len(mechanism.tuning):
        raise ValueError(f"expected a tuning below {len(mechanism.tuning)}, got {case.tuning}")
    known = {entry.name for entry in spec.differentiated if entry.differentiable}
    unknown = [name for name in case.needs or () if name not in known]
    if unknown:
        raise ValueError(f"expected needs among {sorted(known)}, got {unknown}")
    return replace(case, sizes=tuple((name, case.size_map[name]) for name in spec.free_dims()))


def _field(part: str) -> tuple[str, Any]:
    for name, (pattern, read) in _PARTS.items():
        found = pattern.fullmatch(part)
        if found:
            return name, read(found.group(1))
    raise ValueError(f"expected a part of a case such as {EXAMPLE!r}, got {part!r}")
