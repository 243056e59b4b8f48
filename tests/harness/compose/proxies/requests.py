"""Requests for tests: short names for what most of them ask."""

from __future__ import annotations

from pathlib import Path

from harness.compose.proxies.request import ProxyRequest, Split
from harness.compose.proxies.training import identities_of

CANDIDATES = Path(__file__).resolve().parents[4] / "candidates"


def request(
    tokens: str = "mA M",
    *,
    task: str = "in-context-recall",
    preset: str = "tiny",
    seed: int = 0,
    steps: int = 12,
    split: Split = "search",
    dtype: str = "float32",
) -> ProxyRequest:
    parts = tuple(tokens.split())
    return ProxyRequest(
        tokens=parts,
        identities=identities_of(parts, task, preset, candidates=CANDIDATES),
        task=task,
        preset=preset,
        seed=seed,
        steps=steps,
        split=split,
        dtype=dtype,
    )
