"""How fast evaluations are: `python -m harness.compose.proxies.bench` prints it and writes JSON.

Times are CPU seconds of one thread. A comparison runs its sides in turns and takes the median of rounds,
because whatever else the machine does hits both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from harness.compose.composition import ATTENTION, MLP, Composition
from harness.compose.primitives.alphabet import admitted, resolve
from harness.compose.proxies.data import TaskData
from harness.compose.proxies.presets import Preset, TaskProxy, preset_of
from harness.compose.proxies.request import ProxyRequest
from harness.compose.proxies.splits import ExampleSource
from harness.compose.proxies.straightforward import StraightforwardModel, StraightforwardTraining
from harness.compose.proxies.tasks import Recall, Task
from harness.compose.proxies.training import CANDIDATES, Training, evaluate, one_thread

TASK = "in-context-recall"
REFERENCE = Composition((ATTENTION, MLP) * 8)
ROUNDS = 5
STEPS = 6
"""Steps of a round."""


def training_of(stack: Composition, preset: Preset, steps: int = 1) -> Training:
    """A training of `stack` under `preset`, at its beginning."""
    alphabet = resolve(sorted(set(stack.tokens)), CANDIDATES)
    request = ProxyRequest(
        tokens=stack.tokens,
        identities=alphabet.identities(stack.tokens),
        task=TASK,
        preset="tiny",
        seed=0,
        steps=steps,
    )
    return Training.begin(request, preset, alphabet)


def sized(task: Task, width: int) -> Preset:
    """The bench's preset without curriculum and curve points, at another task and width."""
    preset = preset_of(TASK, "tiny")
    heads = width // preset.shape.head_dim
    shape = preset.shape.with_(d_model=width, ffn=2 * width, heads=heads, kv_heads=heads, vocab=task.vocab)
    return replace(preset, proxy=TaskProxy(task=task), shape=shape, every=10**9)


def fast_and_straightforward() -> list[dict[str, float | str]]:
    """Both versions from the same weights: milliseconds of a step at the lengths of the curriculum, and
    seconds of an evaluation's steps, which the straightforward version takes at the whole length throughout.

    Both make their batches anew: what evaluations of one process share is left out.
    """
    preset = preset_of(TASK, "tiny")
    sides: dict[str, Callable[[int], None]] = {}
    for length in (8, 16, 32):
        here = sized(_recall(length), 32)
        sides[f"fast {length}"] = _stepper(training_of(REFERENCE, here))
        sides[f"straightforward {length}"] = _straightforward(here)
    times = in_turns(sides)
    rows: list[dict[str, float | str]] = []
    for length in (8, 16, 32):
        fast, plain = times[f"fast {length}"], times[f"straightforward {length}"]
        rows.append({"step at length": length, "fast_ms": fast, "plain_ms": plain, "ratio": plain / fast})
    data = preset.data("bench", 0)
    assert isinstance(data, TaskData)
    fast = sum(times[f"fast {data.at(step).length}"] for step in range(preset.rung)) / 1e3
    plain = preset.rung * times["straightforward 32"] / 1e3
    return [*rows, {"steps": preset.rung, "fast_s": fast, "plain_s": plain, "ratio": plain / fast}]


def _straightforward(preset: Preset) -> Callable[[int], None]:
    assert isinstance(preset.proxy, TaskProxy)
    task = preset.proxy.task
    model = StraightforwardModel(training_of(REFERENCE, preset).model.model)
    training = StraightforwardTraining(model, preset.recipe)
    source = ExampleSource(label="bench", seed=0)

    def step(number: int) -> None:
        examples = source.batch(task, "train", number, preset.batch)
        training.step(number, torch.from_numpy(examples.ids), torch.from_numpy(examples.targets))

    return step


def growth() -> list[dict[str, float | str]]:
    """Milliseconds of a step over layers, width and length, one changed at a time."""
    cases = [("layers", n, Composition((ATTENTION, MLP) * (n // 2)), 32, 32) for n in (4, 8, 16, 32)]
    cases += [("width", n, REFERENCE, n, 32) for n in (32, 64, 128)]
    cases += [("length", n, REFERENCE, 32, n) for n in (8, 32, 128)]
    rows: list[dict[str, float | str]] = []
    for what, size, stack, width, length in cases:
        run = training_of(stack, sized(_recall(length), width))
        times = in_turns({"step": _stepper(run)}, rounds=3)
        rows.append({"what": what, "size": size, "ms": times["step"]})
    return rows


def primitives() -> list[dict[str, float | str]]:
    """Milliseconds of a step of eight layers of each primitive between eight of `M`, at `tiny`."""
    names = ["mA", "M", "Mb", *(primitive.token for primitive in admitted(CANDIDATES))]
    rows: list[dict[str, float | str]] = []
    for name in names:
        run = training_of(Composition((name, MLP) * 8), sized(_recall(32), 32))
        times = in_turns({name: _stepper(run)}, rounds=2, steps=2)
        rows.append({"primitive": name, "ms": times[name]})
    return rows


def whole_evaluation() -> dict[str, float]:
    """CPU seconds of one evaluation as a search asks for it, and how many a core makes in an hour."""
    run = training_of(REFERENCE, preset_of(TASK, "tiny"), preset_of(TASK, "tiny").steps)
    result = evaluate(run.request)
    return {
        "steps": result.steps,
        "score": result.score,
        "cpu_seconds": result.cpu_seconds,
        "per_hour": 3600.0 / result.cpu_seconds,
    }


def in_turns(
    sides: Mapping[str, Callable[[int], None]], *, rounds: int = ROUNDS, steps: int = STEPS
) -> dict[str, float]:
    """Median over rounds of a side's milliseconds a step; a round gives every side its turn."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    with one_thread():
        for turn in range(rounds + 1):
            for name, side in sides.items():
                started = time.process_time()
                for step in range(turn * steps, (turn + 1) * steps):
                    side(step)
                times[name].append((time.process_time() - started) * 1e3 / steps)
    return {name: statistics.median(found[1:]) for name, found in times.items()}  # the first warms up


def _stepper(run: Training) -> Callable[[int], None]:
    return lambda _: run.step()


def _recall(length: int) -> Recall:
    return Recall(length=length, keys=8, values=24)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write JSON."""
    parts: dict[str, Callable[[], Any]] = {
        "comparison": fast_and_straightforward,
        "growth": growth,
        "evaluation": whole_evaluation,
        "primitives": primitives,
    }
    parser = argparse.ArgumentParser(prog="python -m harness.compose.proxies.bench", description=__doc__)
    parser.add_argument("--parts", default=",".join(parts), help="which, separated by commas")
    parser.add_argument("--json", type=Path, default=Path("runs/bench/proxies.json"), help="written here")
    options = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    for name in options.parts.split(","):
        found[name] = parts[name]()
        sys.stdout.write(f"{name}\n{_shown(found[name])}\n")
        sys.stdout.flush()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _shown(value: dict[str, Any] | list[dict[str, Any]]) -> str:
    rows = value if isinstance(value, list) else [value]
    return "\n".join(
        "  " + "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
        for row in rows
    )


if __name__ == "__main__":
    main()
