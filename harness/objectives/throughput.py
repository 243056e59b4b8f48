"""Tokens per second, forward and backward, at the shapes where the judge measures or predicts it."""

from __future__ import annotations

import math

from harness.objectives.protocol import Passed


class Throughput:
    """The geometric mean over devices and shapes, in millions of tokens per second, so that each counts with
    its ratio and the large ones do not decide alone. Without a GPU these are what the judge's model predicts.
    """

    name = "throughput"
    version = 1

    def score(self, passed: Passed) -> float | None:
        rates = [
            float(row["tokens_per_second"])
            for row in passed.measured.get("throughput", ())
            if isinstance(row.get("tokens_per_second"), int | float) and row["tokens_per_second"] > 0
        ]
        if not rates:
            return None
        return round(math.exp(sum(map(math.log, rates)) / len(rates)) / 1e6, 6)
