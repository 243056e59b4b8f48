"""Where learning sets in: `python -m harness.compose.proxies.transitions` measures it, task by task.

A transition is the first step at which a reference stack is nearer to a perfect score than to chance.
Rungs of a search must not lie below it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.compose.composition import Composition, parse
from harness.compose.primitives.alphabet import resolve
from harness.compose.proxies.presets import MAD_TASKS, preset_of
from harness.compose.proxies.request import ProxyRequest
from harness.compose.proxies.training import CANDIDATES, identities_of, train

REFERENCE = "mA M " * 8
EVERY = 10


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One training of a reference stack; `step` and `seconds` are None where it never was half-way."""

    task: str
    preset: str
    seed: int
    composition: str
    chance: float
    step: int | None
    seconds: float | None
    steps: int
    score: float
    cpu_seconds: float


def measure(task: str, preset: str, seed: int, steps: int, stack: Composition) -> Transition:
    """Train `stack` and look every ten steps; `seconds` are CPU seconds up to the transition, in proportion.

    Looking does not change the training: the steps are those of `evaluate`.
    """
    alphabet = resolve(sorted(set(stack.tokens)), CANDIDATES)
    request = ProxyRequest(
        tokens=stack.tokens,
        identities=identities_of(stack.tokens, task, preset),
        task=task,
        preset=preset,
        seed=seed,
        steps=steps,
    )
    plan = replace(preset_of(task, preset), every=EVERY)
    chance = plan.data("", seed).chance
    result = train(request, plan, alphabet)
    step = next((point.step for point in result.curve if point.score > 0.5 * (chance + 1.0)), None)
    return Transition(
        task=task,
        preset=preset,
        seed=seed,
        composition=stack.run_length(),
        chance=chance,
        step=step,
        seconds=None if step is None else result.cpu_seconds * step / result.steps,
        steps=result.steps,
        score=result.score,
        cpu_seconds=result.cpu_seconds,
    )


def table(rows: Sequence[Transition]) -> str:
    """One line per training."""
    head = f"{'task':<18} {'preset':<6} {'seed':>4} {'chance':>6} {'transition':>10} {'s':>6} {'score':>6} at"
    lines = [head]
    for row in rows:
        step = "none" if row.step is None else str(row.step)
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        lines.append(
            f"{row.task:<18} {row.preset:<6} {row.seed:>4} {row.chance:>6.3f} {step:>10} {seconds:>6} "
            f"{row.score:>6.3f} {row.steps}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.compose.proxies.transitions", description=__doc__
    )
    parser.add_argument("--tasks", default=",".join(MAD_TASKS), help="names, separated by commas")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0")
    parser.add_argument("--steps", type=int, default=0, help="how long; 0: as the preset says")
    parser.add_argument("--composition", default=REFERENCE)
    parser.add_argument("--json", type=Path, default=Path("runs/bench/transitions.json"), help="written here")
    options = parser.parse_args(arguments)
    rows = []
    for task in options.tasks.split(","):
        for seed in range(options.seeds):
            steps = options.steps or preset_of(task, options.preset).steps
            rows.append(measure(task, options.preset, seed, steps, parse(options.composition)))
            sys.stderr.write(table(rows[-1:]).splitlines()[-1] + "\n")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
