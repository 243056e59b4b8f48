"""Progress of a composition study on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from harness.compose.study import Progress as Step

Tell = Callable[[Step], None]


@contextlib.contextmanager
def study_progress(console: Console, *, trials: int) -> Iterator[Tell]:
    """A function to tell every step to. `trials` is how many a bar holds; nothing moves off a terminal."""
    if console.is_terminal:
        with _bar(console, trials) as tell:
            yield tell
    else:
        yield lambda step: console.print(Text(step.text), soft_wrap=True)


@contextlib.contextmanager
def _bar(console: Console, trials: int) -> Iterator[Tell]:
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=trials)
        seen: set[int] = set()

        def tell(step: Step) -> None:
            if step.kind == "finished" and step.number is not None:
                seen.add(step.number)
            bar.update(task, completed=len(seen), description=_short(step.text, console.width))

        yield tell


def _short(text: str, width: int) -> str:
    """What fits beside the bar, with markup switched off."""
    room = max(20, width - 56)
    cut = text if len(text) <= room else text[: room - 1] + "…"
    return cut.replace("[", r"\[")
