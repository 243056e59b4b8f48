"""Engine and known results as every command opens them, so that one folder holds whatever was evaluated."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from harness.compose.engines.local import LocalEngine
from harness.compose.engines.protocol import Engine, Evaluate
from harness.compose.proxies.cache import ResultCache
from harness.compose.proxies.training import evaluate

EngineName = Literal["local", "ray"]
RESULTS, CHECKPOINTS = "proxy-results.sqlite", "checkpoints"


def open_results(runs: Path) -> ResultCache:
    """What was ever evaluated under the folder `runs`. Raises HarnessError as `ResultCache`."""
    return ResultCache(runs / RESULTS)


def open_engine(
    name: EngineName, *, workers: int, candidates: Path, runs: Path, evaluation: Evaluate | None = None
) -> Engine:
    """The engine of that name over the proxies, with checkpoints under `runs`; `evaluation` answers in their
    place where it is given. Raises HarnessError where Ray is asked for and missing.
    """
    bound = evaluation or partial(
        evaluate, candidates=candidates.resolve(), checkpoints=(runs / CHECKPOINTS).resolve()
    )
    if name == "ray":
        from harness.compose.engines.ray_engine import RayEngine  # noqa: PLC0415  an extra

        return RayEngine(bound, workers=workers)
    return LocalEngine(bound, workers=workers)
