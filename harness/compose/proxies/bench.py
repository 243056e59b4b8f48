"""How fast evaluations are: `python -m harness.compose.proxies.bench` prints it and writes JSON.

Times are CPU seconds of one thread. A comparison runs its sides in turns and takes the median of rounds,
because whatever else the machine does hits both.
"""

from __future__ import annotations

import torch

from harness.compose.composition import Composition, parse
from harness.compose.primitives.alphabet import Alphabet, resolve
from harness.compose.proxies.presets import Preset, TaskProxy
from harness.compose.proxies.request import ProxyRequest
from harness.compose.proxies.splits import ExampleSource
from harness.compose.proxies.straightforward import StraightforwardModel, StraightforwardTraining
from harness.compose.proxies.training import CANDIDATES, build, step_time

TASK = "in-context-recall"
REFERENCE = "mA M " * 8
ROUNDS = 5
STEPS = 6
"""Steps of a round."""


def request_for(stack: Composition, alphabet: Alphabet, steps: int = 1) -> ProxyRequest:
    """A request for `stack` on the bench's task."""
    return ProxyRequest(
        tokens=stack.tokens,
        identities=alphabet.identities(stack.tokens),
        task=TASK,
        preset="tiny",
        seed=0,
        steps=steps,
    )


def fast_and_straightforward(preset: Preset) -> dict[str, float]:
    """Milliseconds of a step of both versions on the same weights and batches, and their ratio.

    Batches are those behind the curriculum; both make them anew, so the ratio leaves out that evaluations of
    one process share them.
    """
    assert isinstance(preset.proxy, TaskProxy)
    task = preset.proxy.task
    source = ExampleSource(label="bench", seed=0)
    alphabet = resolve(["mA", "M"], CANDIDATES)
    fast = step_time(request_for(parse(REFERENCE), alphabet), _flat(preset), alphabet)
    plain_model = build(
        request_for(parse(REFERENCE), alphabet), preset, preset.data("bench", 0), alphabet
    ).model
    plain = StraightforwardTraining(StraightforwardModel(plain_model), preset.recipe)

    def straightforward(step: int) -> None:
        examples = source.batch(task, "train", step, preset.batch)
        plain.step(step, torch.from_numpy(examples.ids), torch.from_numpy(examples.targets))

    times = _in_turns({"fast": fast, "straightforward": straightforward})
    return {
        "fast_ms": times["fast"],
        "straightforward_ms": times["straightforward"],
        "ratio": times["straightforward"] / times["fast"],
    }
