"""The files that a finished composition job leaves in its study's folder: configurations and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.compose.composition import Composition
from harness.compose.extrapolate import CONTEXT, Configuration, Method, check_builds, configure
from harness.compose.latency import predict
from harness.compose.primitives.alphabet import Alphabet
from harness.compose.sizes import SIZES, Size
from harness.errors import HarnessError, WrongUsage
from harness.report.compose_pictures import Placed, Spent, draw_frontier, draw_layers, draw_progress
from harness.report.compose_summary import Summary
from verify.device.sheets import SHEETS, DeviceSheet

EXTRAPOLATED, PICTURES = "extrapolated", "pictures"
DEVICE = "sm_90"
"""Whose data sheet the predicted latencies are of."""


def write_outputs(summary: Summary, alphabet: Alphabet, folder: Path) -> Summary:
    """Write the best composition's configurations and the study's pictures under `folder`; returns the
    summary with what was written, and why a size was not. Raises HarnessError where a file cannot be written.
    """
    configurations, unreached = [], []
    for size in SIZES.values():
        try:
            one = configure(summary.found.best, alphabet, size, method="stretch")
        except WrongUsage as reason:  # no shape is near enough: no reason to keep what was found to oneself
            unreached.append(f"{size.name}: {reason}")
        else:
            configurations.append(write_configuration(one, alphabet, folder))
    return replace(
        summary,
        configurations=tuple(configurations),
        unreached=tuple(unreached),
        pictures=draw_pictures(summary, alphabet, folder / PICTURES),
    )


def write_configuration(
    configuration: Configuration, alphabet: Alphabet, folder: Path
) -> tuple[Configuration, Path]:
    """Check that the model builds without storage, and write `<folder>/extrapolated/<name>.json`."""
    check_builds(configuration, alphabet)
    path = folder / EXTRAPOLATED / f"{configuration.name}.json"
    text = json.dumps(configuration.to_json(), indent=2, sort_keys=True) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be written ({error.strerror}). Make room or permission."
        ) from None
    return configuration, path


def size_named(name: str) -> Size:
    """350m, 1b or 3b in any case. Raises WrongUsage for others."""
    found = SIZES.get(name.upper())
    if found is None:
        known = ", ".join(size.lower() for size in SIZES)
        raise WrongUsage(f"--target: expected one of {known}, got {name!r}.")
    return found


def draw_pictures(summary: Summary, alphabet: Alphabet, folder: Path) -> tuple[Path, ...]:
    """Fitness over cost, layers of the best, fitness against predicted latency."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(f"{folder}: cannot be made ({error.strerror}). Make room or permission.") from None
    paths = tuple(folder / name for name in ("progress.png", "layers.png", "latency.png"))
    title = f"Study {summary.settings.study_id}"
    draw_progress(
        {
            name: [Spent(cost=cost, fitness=fitness) for cost, fitness in spent]
            for name, spent in summary.spent.items()
        },
        paths[0],
        cost="training steps",
        fitness=f"fitness on {summary.settings.task}",
        title=title,
    )
    top = summary.top()
    draw_layers(top, alphabet.tokens, paths[1], title=f"{title}: the best {len(top)}, % of them by layer")
    sheet = SHEETS[DEVICE]
    draw_frontier(
        _placed(summary, alphabet, sheet),
        paths[2],
        latency=f"prefill of {CONTEXT:,} tokens at 1B on an {sheet.name}",
        fitness=f"fitness on {summary.settings.task}",
        title=f"{title}: every complete trial, stretched to 1B",
    )
    return paths


def _placed(summary: Summary, alphabet: Alphabet, sheet: DeviceSheet) -> Sequence[Placed]:
    found = []
    for composition, fitness in summary.complete():
        at = _large(composition, alphabet, "stretch")
        if at is not None:
            seconds = predict(at.composition, alphabet, at.shape, sheet, length=CONTEXT).prefill
            found.append(Placed(composition=composition, fitness=fitness, latency=seconds))
    return found


def _large(composition: Composition, alphabet: Alphabet, method: Method) -> Configuration | None:
    """At 1B; None where no shape comes near it."""
    try:
        return configure(composition, alphabet, SIZES["1B"], method=method)
    except WrongUsage:
        return None
