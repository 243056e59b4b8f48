"""What the two sides of a row say about each other: ratios, and how far their results are apart."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from verify.triton_cpu.bench.tape import Bytes, Results, Tape, TensorArg

SANITIZER_LIMIT = 1.5
SPEED_LIMIT = 3.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """One workload. `seconds` are processor seconds, the least of all rounds, of "stock" and of our modes;
    `different` names dtype and mode where bits differed between our modes; `missing` says why a number is not
    there.
    """

    name: str
    launches: int = 0
    programs: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    patched: bool = False
    apart: float | None = None
    different: tuple[str, ...] = ()
    missing: str | None = None

    def ratio(self, slow: str, fast: str) -> float | None:
        """How many times longer `slow` takes than `fast`; None where one is missing."""
        if slow not in self.seconds or fast not in self.seconds:
            return None
        return self.seconds[slow] / self.seconds[fast]


def row_of(name: str, ours: dict[str, Any], stock: dict[str, Any], apart: float | None) -> Row:
    """One row from what the two child processes answered."""
    if "error" in ours:
        return Row(name=name, missing=f"this layer: {ours['error']}")
    seconds = {mode: min(rounds) for mode, rounds in ours["seconds"].items()}
    if "seconds" in stock:
        seconds["stock"] = min(stock["seconds"])
    return Row(
        name=name,
        launches=ours["launches"],
        programs=ours["programs"],
        seconds=seconds,
        patched=bool(stock.get("patched")),
        apart=apart,
        different=tuple(
            f"{dtype} {mode}"
            for dtype, modes in ours["different"].items()
            for mode, launches in modes.items()
            if launches
        ),
        missing=f"stock: {stock['error']}" if "error" in stock else None,
    )


def geometric_mean(ratios: Sequence[float]) -> float | None:
    """None of no ratios."""
    return math.exp(statistics.fmean(math.log(ratio) for ratio in ratios)) if ratios else None


def distance(tape: Tape, ours: Results, stock: Results) -> float:
    """The largest difference of any float32 tensor after any launch, relative to the tensor's RMS.

    Infinite where one side has a number and the other has none.
    """
    worst = 0.0
    for index, launch in enumerate(tape.launches):
        mine, theirs = ours.load(index), stock.load(index)
        held = {
            value.storage
            for _, value in launch.arguments
            if isinstance(value, TensorArg) and value.dtype == "float32"
        }
        for number in held:
            worst = max(worst, _apart(mine[number], theirs[number]))
    return worst


def _apart(mine: Bytes, theirs: Bytes) -> float:
    whole = mine.size // 4 * 4
    left, right = (side[:whole].view(np.float32).astype(np.float64) for side in (mine, theirs))
    finite = np.isfinite(left)
    if not np.array_equal(finite, np.isfinite(right)):
        return math.inf
    if not finite.any():
        return 0.0
    scale = float(np.sqrt(np.mean(right[finite] ** 2))) or 1.0
    return float(np.max(np.abs(left - right)[finite])) / scale


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The numbers that the promises are about, and whether they hold."""
    speed = [ratio for row in rows if (ratio := row.ratio("stock", "plain")) is not None]
    batching = [ratio for row in rows if (ratio := row.ratio("unbatched", "plain")) is not None]
    sanitizer = [ratio for row in rows if (ratio := row.ratio("sanitizer", "plain")) is not None]
    different = [f"{row.name}: {which}" for row in rows for which in row.different]
    speed_mean, sanitizer_mean = geometric_mean(speed), geometric_mean(sanitizer)
    return {
        "stock / plain": speed_mean,
        "unbatched / plain": geometric_mean(batching),
        "sanitizer / plain": sanitizer_mean,
        "sanitizer / plain, largest": max(sanitizer, default=None),
        "rows with a ratio": len(speed),
        "rows": len(rows),
        "different bits": different,
        "holds": speed_mean is not None
        and speed_mean >= SPEED_LIMIT
        and sanitizer_mean is not None
        and sanitizer_mean <= SANITIZER_LIMIT
        and not different,
    }
