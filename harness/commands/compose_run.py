"""The `compose run` command: search small, re-test, extrapolate, and tell."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from harness.commands.documents import check_output, write_output
from harness.compose.controls import ControlRun
from harness.compose.engines.opening import EngineName, open_engine, open_results
from harness.compose.engines.protocol import Engine, Evaluate
from harness.compose.extras import expect
from harness.compose.halving import Rung, parse_rungs
from harness.compose.limits import Constraint, Limits, anything, within
from harness.compose.pipeline import OtherTask, Pipeline, Plan
from harness.compose.primitives.alphabet import Alphabet, admitted, quickest_of_families, resolve
from harness.compose.proxies.presets import Preset, preset_of
from harness.compose.study import Progress, open_study
from harness.compose.study_settings import StudySettings
from harness.errors import NothingToDo, WrongUsage
from harness.report.compose_outputs import write_outputs
from harness.report.compose_progress import study_progress
from harness.report.compose_summary import Summary, print_summary, to_text

ADMITTED, FAMILIES = "admitted", "families"
"""Stand in a list of primitives for every admitted causal mechanism, and for the quickest of each family."""

FACTOR = 3
"""The best third of a rung goes on: with the better half, the default study took over a quarter of an hour on
two slow cores.
"""


@dataclass(frozen=True, kw_only=True)
class ComposeRequest:
    """What the command line asked for; None leaves the choice to the preset or to the machine."""

    primitives: tuple[str, ...]
    layers: int
    budget: int
    sampler: str
    seed: int
    task: str
    preset: str
    rungs: str | None
    others: tuple[str, ...]
    study: Literal["quick", "full"]
    engine: EngineName
    workers: int
    limits: Limits | None
    candidates: Path
    runs: Path
    as_json: bool
    output: Path | None


def run(
    request: ComposeRequest, *, stdout: Console, stderr: Console, evaluation: Evaluate | None = None
) -> int:
    """Run the study and what follows, write its files, print what it found; returns the exit code.

    Raises HarnessError where the run cannot go on. `evaluation` answers in place of the proxies.
    """
    check_output(request.output)
    expect("matplotlib", "compose")
    preset = preset_of(request.task, request.preset)
    alphabet = alphabet_of(request.primitives, request.candidates, preset)
    settings, plan = settings_of(request, alphabet, preset), plan_of(request)
    constraint = _limited(request.limits, alphabet, preset)
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(open_results(request.runs))
        engine = stack.enter_context(_engine(request, evaluation))
        tell = stack.enter_context(study_progress(stderr, trials=request.budget))
        study = stack.enter_context(
            open_study(settings, runs=request.runs, engine=engine, cache=cache, constraint=constraint)
        )
        pipeline = Pipeline(study, plan)
        _exhaust(pipeline.run(), tell)
        comparison = None
        if request.study == "full":
            controls = ControlRun(study, engine=engine, cache=cache, constraint=constraint, seeds=plan.seeds)
            _exhaust(controls.run(), tell)
            comparison = controls.comparison
        summary = Summary.of(study, plan, pipeline.found, comparison)
        summary = write_outputs(summary, alphabet, study.folder)
    text = to_text(summary)
    write_output(request.output, text)
    if request.as_json:
        stdout.file.write(text)
    else:
        print_summary(summary, stdout)
    return 0


def alphabet_of(names: tuple[str, ...], candidates: Path, preset: Preset) -> Alphabet:
    """The primitives of these names, with `admitted` and `families` replaced by what they stand for.

    Raises WrongUsage for unknown names, or none, PrimitiveRefused (exit code 1) for a mechanism that must not
    be composed, NothingToDo where nothing is left.
    """
    if not candidates.is_dir() and {ADMITTED, FAMILIES} & set(names):
        raise WrongUsage(f"--candidates: expected a folder of mechanisms, got {candidates}.")
    expanded: list[str] = []
    for name in names:
        if name == ADMITTED:
            expanded += [one.token for one in admitted(candidates)]
        elif name == FAMILIES:
            quickest = quickest_of_families(candidates, preset.shape, preset.proxy.length)
            expanded += [one.token for one in quickest]
        else:
            expanded.append(name)
    if names and not expanded:
        raise NothingToDo(
            f"{candidates}: expected an admitted causal mechanism, got none. Run `nox -s design` first, or "
            "name other primitives."
        )
    return resolve(expanded, candidates)


def settings_of(request: ComposeRequest, alphabet: Alphabet, preset: Preset) -> StudySettings:
    """All that the results depend on. Raises WrongUsage for sizes that make no study."""
    rungs = parse_rungs(request.rungs) if request.rungs else default_rungs(preset)
    return StudySettings(
        alphabet=alphabet.tokens,
        identities=tuple((token, alphabet[token].identity) for token in alphabet.tokens),
        layers=request.layers,
        budget=request.budget,
        sampler=request.sampler,
        seed=request.seed,
        task=request.task,
        preset=request.preset,
        rungs=rungs,
        transition=preset.rung,
        factor=FACTOR,
        limits=request.limits,
        data=tuple(sorted(preset.proxy.identities().items())),
    )


def default_rungs(preset: Preset) -> tuple[Rung, ...]:
    """Everything once, at the step from which scores mean something; the best of them as long as a search
    should train, from two seeds.
    """
    if preset.steps <= preset.rung:
        return (Rung(steps=preset.rung, seeds=1), Rung(steps=preset.rung, seeds=2))
    return (Rung(steps=preset.rung, seeds=1), Rung(steps=preset.steps, seeds=2))


def plan_of(request: ComposeRequest) -> Plan:
    """What follows the search: the other tasks, each for as many steps as its preset says."""
    names = [name for name in dict.fromkeys(request.others) if name != request.task]
    return Plan(others=tuple(_other(name, request.preset) for name in names))


def _other(task: str, name: str) -> OtherTask:
    preset = preset_of(task, name)
    data = tuple(sorted(preset.proxy.identities().items()))
    chance = preset.data("", 0).chance
    return OtherTask(task=task, preset=name, steps=preset.steps, chance=chance, data=data)


def _limited(limits: Limits | None, alphabet: Alphabet, preset: Preset) -> Constraint:
    """The limits, bound to the primitives' counts at the preset's sizes."""
    if limits is None:
        return anything
    return within(limits, {token: alphabet[token] for token in alphabet.tokens}, preset.shape)


def _engine(request: ComposeRequest, evaluation: Evaluate | None) -> Engine:
    return open_engine(
        request.engine,
        workers=request.workers,
        candidates=request.candidates,
        runs=request.runs,
        evaluation=evaluation,
    )


def _exhaust(steps: Iterator[Progress], tell: Callable[[Progress], None]) -> None:
    for step in steps:
        tell(step)
