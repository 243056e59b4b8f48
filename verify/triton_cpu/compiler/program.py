"""What a kernel's intermediate code says: the types and precision of its dots, the width of its offsets, the
tensor-core instructions that were chosen. Imports neither torch nor Triton.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

_TYPE = r"tensor<(?:\d+x)*([A-Za-z]\w*)[^>]*>"
_DOT = re.compile(
    rf"\btt\.dot(_scaled)?\b(?P<attributes>.*?):\s*{_TYPE}(?:,\s*{_TYPE})?\s*\*\s*{_TYPE}.*?->\s*{_TYPE}"
)
_PRECISION = re.compile(r"inputPrecision\s*=\s*(\w+)")
_OFFSET = re.compile(r"\btt\.addptr\b.*,\s*(?:tensor<(?:\d+x)*)?(i\d+)")

_PTX_UNITS = (
    ("tcgen05", re.compile(r"\btcgen05\.mma")),
    ("wgmma", re.compile(r"\bwgmma\.mma_async")),
    ("mma.sync", re.compile(r"\bmma\.sync")),
)
_MFMA = re.compile(r"^\tv_mfma_", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, order=True)
class Dot:
    """`count` dots of one kind. Types as the compiler names them ("bf16", "f32", "f8E4M3FN", ...).

    `precision` is the input precision of float32 operands ("ieee", "tf32", "tf32x3", "bf16x3", ...); None for
    other types, whose products are exact. `scaled` dots have scales beside their operands.
    """

    left: str
    right: str
    result: str
    precision: str | None
    scaled: bool
    count: int

    @property
    def text(self) -> str:
        types = self.left if self.left == self.right else f"{self.left} x {self.right}"
        precision = f" {self.precision}" if self.precision else ""
        return f"{types}{precision} -> {self.result}{' scaled' if self.scaled else ''}"


def dots(ttir: str) -> tuple[Dot, ...]:
    """Every dot of the program before any target-specific pass, equal ones counted together, sorted."""
    found: Counter[tuple[str, str, str, str | None, bool]] = Counter()
    for line in ttir.splitlines():
        match = _DOT.search(line) if "tt.dot" in line else None
        if match is None:
            continue
        scaled, _, left, _, right, result = match.groups()
        named = _PRECISION.search(match["attributes"])
        precision = (named[1].lower() if named else "ieee") if left == "f32" else None
        found[left, right, result, precision, scaled is not None] += 1
    rows = [
        Dot(left=left, right=right, result=result, precision=precision, scaled=scaled, count=count)
        for (left, right, result, precision, scaled), count in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: (row.text, row.count)))


def index_widths(ttir: str) -> dict[str, int]:
    """How many pointer additions take an offset of each width -> {"i32": 12, "i64": 9}."""
    found: Counter[str] = Counter()
    for line in ttir.splitlines():
        match = _OFFSET.search(line) if "tt.addptr" in line else None
        if match is not None:
            found[match[1]] += 1
    return dict(sorted(found.items()))


def tensor_units(ptx: str) -> dict[str, int]:
    """Tensor-core instructions in PTX by their kind: "wgmma", "mma.sync", "tcgen05"."""
    counts = {name: len(pattern.findall(ptx)) for name, pattern in _PTX_UNITS}
    return {name: count for name, count in counts.items() if count}


def amd_tensor_units(assembly: str) -> dict[str, int]:
    """The same for gfx942: "mfma"."""
    count = len(_MFMA.findall(assembly))
    return {"mfma": count} if count else {}
