"""Run lm-evaluation-harness on models of bytes: the built-in tasks, or any that it knows where there is a
network.

Needs lm-eval: import this module where it is used, not before.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager
from lm_eval.utils import make_table
from torch import nn

from harness.compose.evaluation.estimates import Estimate, ratio
from harness.compose.evaluation.lm_eval_adapter import ByteLM
from harness.compose.evaluation.scores import Evaluation, Score
from harness.errors import HarnessError, WrongUsage

TASKS = Path(__file__).parent / "tasks"
"""The folder to give lm-eval as `--include_path`, for other models on the same tasks."""


def open_tasks(names: Sequence[str]) -> TaskManager:
    """lm-eval's tasks and ours.

    Raises WrongUsage for a name that is neither, HarnessError where a task's data cannot be had.
    """
    # It warns, task by task, of options that we do not use.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    built_in = {path.stem for path in TASKS.glob("*.yaml")}
    manager = TaskManager(include_path=str(TASKS), include_defaults=not built_in.issuperset(names))
    unknown = [name for name in names if name not in manager.all_tasks]
    if unknown or not names:
        raise WrongUsage(
            f"tasks: expected names that lm-eval knows, got {', '.join(unknown) or 'none'}. "
            f"Built in: {', '.join(sorted(built_in))}; `lm-eval ls tasks` lists the others."
        )
    _check_data(manager, names)
    return manager


def evaluate(
    model: nn.Module,
    names: Sequence[str],
    manager: TaskManager,
    *,
    window: int,
    limit: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """All scores of `model`, ids (B, T) to logits (B, T, VOCAB) with T at most `window`, on the tasks.

    `limit` takes so many items of each, from the first on; `seed` is for tasks that draw examples. Bits per
    byte get a standard error over texts, which lm-eval does not give.

    This is `simple_evaluate` without its seeding of global generators and its survey of the machine, which
    takes longer than a small model does.
    """
    loaded = manager.load(list(names))
    for task in loaded["tasks"].values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=seed)
    found = lm_eval.evaluate(ByteLM(model, window=window), loaded, limit=limit)
    assert found is not None  # only other ranks get nothing, and there is one
    return read_results(found)


def _check_data(manager: TaskManager, names: Sequence[str]) -> None:
    """Find out before models run that a data set cannot be had."""
    try:
        manager.load(list(names))
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["no reason"])[0]
        raise HarnessError(
            f"tasks: expected the data of {', '.join(names)}, got {type(error).__name__}: {reason}. "
            "Check the network and HF_HUB_OFFLINE; built-in tasks need neither."
        ) from error


def read_results(found: Mapping[str, Any]) -> Evaluation:
    """Scores out of `simple_evaluate`'s answer; fills the missing standard errors into its table."""
    scores = []
    for task, results in found["results"].items():
        for key in [key for key in results if "," in key and "_stderr," not in key]:
            score = _score(found, task, key)
            scores.append(score)
            metric, _, filters = key.partition(",")
            results[f"{metric}_stderr,{filters}"] = (
                "N/A" if score.estimate.stderr is None else score.estimate.stderr
            )
    return Evaluation(scores=tuple(scores), table=make_table(found))


def _score(found: Mapping[str, Any], task: str, key: str) -> Score:
    results, samples = found["results"][task], found.get("samples", {}).get(task, [])
    metric, _, filters = key.partition(",")
    per_item = _per_item(samples, metric, filters)
    given = results.get(f"{metric}_stderr,{filters}")
    stderr = given if isinstance(given, int | float) else None
    if metric == "bits_per_byte" and per_item is not None:
        stderr = ratio(*zip(*per_item, strict=True)).stderr
    better = found.get("higher_is_better", {}).get(task, {}).get(metric)
    return Score(
        task=task,
        metric=metric,
        estimate=Estimate(value=float(results[key]), stderr=stderr),
        items=len(samples),
        higher_is_better=bool(better),
        chance=_chance(samples) if metric in ("acc", "acc_norm", "acc_bytes") else None,
        per_item=per_item,
    )


def _per_item(
    samples: Sequence[Mapping[str, Any]], metric: str, filters: str
) -> tuple[tuple[float, float], ...] | None:
    """(bits, bytes) of each text for bits per byte, (score, 1) of each item for accuracies."""
    chosen = [sample for sample in samples if sample.get("filter", filters) == filters]
    values = [sample[metric] for sample in chosen if metric in sample]
    if not values or len(values) != len(chosen):
        return None
    if metric == "bits_per_byte":
        return tuple((-logprob / math.log(2), float(size)) for logprob, size in values)
    if metric in ("acc", "acc_norm", "acc_bytes", "exact_match"):
        return tuple((float(value), 1.0) for value in values)
    return None


def _chance(samples: Sequence[Mapping[str, Any]]) -> float | None:
    """Of guessing: the mean of one over the number of choices, which is that of answers to each item."""
    counts = [len(sample["filtered_resps"]) for sample in samples]
    if not counts or min(counts) < 2:
        return None
    return sum(1 / count for count in counts) / len(counts)
