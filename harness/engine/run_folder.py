"""A design run as it lies in its folder: read for people, whether or not it has ended."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from harness.engine.settings import Settings
from harness.engine.state import RunState
from harness.errors import HarnessError, WrongUsage
from harness.store import Store

RUN_FILE = "run.sqlite"


@dataclass(frozen=True, kw_only=True)
class ReadRun:
    """What a folder holds. `seconds` is the work on it so far, by the clock on the wall."""

    folder: Path
    settings: Settings
    state: RunState
    seconds: float


def run_folders(runs: Path) -> list[Path]:
    """The folders of all design runs under `runs`, by name."""
    return sorted(path.parent for path in runs.glob(f"*/{RUN_FILE}"))


def find_run(name: str, runs: Path) -> Path:
    """The folder `name`, or that of the run of this id under `runs`. Raises WrongUsage for neither."""
    folder = next((path for path in (Path(name), runs / name) if (path / RUN_FILE).is_file()), None)
    if folder is None:
        known = [path.name for path in run_folders(runs)]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or known[-3:]
        raise WrongUsage(
            f"run: expected a run's folder, or its id under {runs}, got {name!r}. "
            f"There: {', '.join(near) or 'none'}."
        )
    return folder


def read_run(folder: Path) -> ReadRun:
    """What a run's folder holds. Raises HarnessError where the file is damaged or of another version."""
    path = folder / RUN_FILE
    with Store(path, read_only=True) as store:
        events = list(store.events())
        try:
            (settings,) = (Settings.from_json(event.body) for event in events[:1] if event.kind == "started")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HarnessError(
                f"{path}: expected a design run, got a file that tells of none ({error}). It was cut short, "
                "damaged, or written by another version."
            ) from None
        state = RunState.replay(store)
    seconds = round(sum(event.clock for event in events), 1)
    return ReadRun(folder=folder, settings=settings, state=state, seconds=seconds)
