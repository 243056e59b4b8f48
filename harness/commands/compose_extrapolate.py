"""The `compose extrapolate` command: the best of a study, or any composition, as a large model's sizes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.compose.baselines import BASELINES
from harness.compose.composition import Composition, parse
from harness.compose.extrapolate import Configuration, Method, configure
from harness.compose.primitives.alphabet import Alphabet, built_in, resolve
from harness.compose.study_folder import read_study
from harness.errors import WrongUsage
from harness.report.compose_outputs import size_named, write_configuration
from harness.report.compose_summary import configurations_table


def run(
    what: str,
    *,
    targets: Sequence[str],
    method: Method,
    runs: Path,
    candidates: Path,
    out: Path | None,
    as_json: bool,
    stdout: Console,
) -> int:
    """Write a configuration for each target; returns the exit code.

    `what` is a study (its folder or id), a baseline's name, or a composition. Raises WrongUsage for what is
    none of these and for unknown targets, PrimitiveRefused for a mechanism that must not be composed,
    HarnessError where a count is wrong or a file cannot be written.
    """
    sizes = [size_named(name) for name in targets]
    if what in BASELINES:
        alphabet, folder = built_in(), out or Path()
        found = [BASELINES[what](size) for size in sizes]
    else:
        composition, alphabet, study = _subject(what, runs, candidates)
        folder = out or study or Path()
        found = [configure(composition, alphabet, size, method=method) for size in sizes]
    written = [write_configuration(one, alphabet, folder) for one in found]
    _print(written, as_json, stdout)
    return 0


def _subject(what: str, runs: Path, candidates: Path) -> tuple[Composition, Alphabet, Path | None]:
    """(composition, its alphabet, the study's folder where it is a study's best)."""
    try:
        study = read_study(what, runs)
    except WrongUsage as no_study:
        try:
            composition = parse(what)
            return composition, resolve(sorted(set(composition.tokens)), candidates), None
        except WrongUsage as no_composition:
            raise WrongUsage(
                f"{no_study} Nor is it a baseline ({', '.join(BASELINES)}) or a composition: {no_composition}"
            ) from None
    return study.best(), study.alphabet(candidates), study.folder


def _print(written: Sequence[tuple[Configuration, Path]], as_json: bool, stdout: Console) -> None:
    if as_json:
        documents = [{"file": str(path), **one.to_json()} for one, path in written]
        stdout.file.write(json.dumps(documents, indent=2, sort_keys=True) + "\n")
        return
    stdout.print(configurations_table(written))
    stdout.print()
    for _, path in written:
        stdout.print(Text(f"written  {path}"), soft_wrap=True)
    unmeasured = sorted({token for one, _ in written for token in one.needs_measured})
    if unmeasured:
        stdout.print(
            Text(
                f"Each builds with the counted parameters. Next: time {', '.join(unmeasured)} on a GPU "
                "(`nox -s gpu`); until then no model above 100M parameters is made of them."
            ),
            soft_wrap=True,
        )
    else:
        stdout.print(Text("Each builds with the counted parameters."), soft_wrap=True)
