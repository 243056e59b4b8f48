"""The pictures of a composition study: how fast each sampler got how far, what the best have in common, and
what speed would cost.

Readable without colours. matplotlib (extra `compose`) is loaded when a picture is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle
from pathlib import Path
from typing import Any

from harness.compose.composition import Composition
from harness.compose.extras import extra
from harness.errors import HarnessError

_DPI = 130
_FONT = 8.5
_DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 2)), (0, (8, 2, 2, 2)))
_MARKERS = "osD^vP"


@dataclass(frozen=True, kw_only=True)
class Spent:
    """One evaluated trial: what it cost (any unit, the same for all) and how fit it was."""

    cost: float
    fitness: float


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A composition with its fitness and its predicted latency in seconds."""

    composition: Composition
    fitness: float
    latency: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """(training step, score) of one training; curves of one name belong together."""

    name: str
    points: Sequence[tuple[int, float]]


def best_so_far(trials: Sequence[Spent]) -> tuple[list[float], list[float]]:
    """Cost spent after each trial, and the best fitness by then."""
    costs = list(accumulate(trial.cost for trial in trials))
    return costs, list(accumulate((trial.fitness for trial in trials), max))


def frontier(points: Sequence[Placed]) -> list[Placed]:
    """Those that none other beats in both: quickest first, each fitter than the one before."""
    kept: list[Placed] = []
    for point in sorted(points, key=lambda one: (one.latency, -one.fitness, one.composition)):
        if not kept or point.fitness > kept[-1].fitness:
            kept.append(point)
    return kept


def shares(compositions: Sequence[Composition], tokens: Sequence[str]) -> list[list[float]]:
    """By token, then by layer: the fraction of the compositions that have it there."""
    layers = range(len(compositions[0]))
    return [
        [sum(one.tokens[layer] == token for one in compositions) / len(compositions) for layer in layers]
        for token in tokens
    ]


def draw_progress(
    samplers: Mapping[str, Sequence[Spent]], path: Path, *, cost: str, fitness: str, title: str
) -> None:
    """Best fitness over cost, a line for each sampler. `cost` and `fitness` name the axes."""
    figure, axes = _figure(title)
    for index, (name, trials) in enumerate(samplers.items()):
        costs, best = best_so_far(trials)
        axes.step(
            costs, best, where="post", color="black", lw=1.4, ls=_DASHES[index % len(_DASHES)],
            marker=_MARKERS[index % len(_MARKERS)], ms=4.5, mfc="white", label=f"{name}: {best[-1]:.3f}",
            markevery=max(1, len(best) // 12),
        )  # fmt: skip
    axes.set_xlabel(cost)
    axes.set_ylabel(f"best {fitness} so far")
    axes.legend(fontsize=_FONT, frameon=False, loc="lower right", handlelength=3.6)
    _save(figure, path)


def draw_layers(
    compositions: Sequence[Composition], tokens: Sequence[str], path: Path, *, title: str
) -> None:
    """Which primitive the compositions have at which layer, as a heat map with percentages."""
    figure, axes = _figure(title, height=1.6 + 0.42 * len(tokens))
    table = shares(compositions, tokens)
    axes.imshow(table, cmap="Greys", vmin=0.0, vmax=1.0, aspect="auto")
    for row, values in enumerate(table):
        for layer, value in enumerate(values):
            if value:
                shade = "white" if value > 0.55 else "black"
                axes.text(layer, row, f"{100 * value:.0f}", ha="center", va="center", color=shade, fontsize=8)
    axes.set_yticks(range(len(tokens)), tokens)
    axes.set_xticks(range(len(table[0])), range(1, len(table[0]) + 1))
    axes.set_xlabel("layer")
    _save(figure, path)


def draw_frontier(points: Sequence[Placed], path: Path, *, latency: str, fitness: str, title: str) -> None:
    """Fitness against predicted latency; the frontier is a line, and its compositions are written out."""
    figure, axes = _figure(title, height=5.6)
    best = frontier(points)
    axes.plot([1e3 * one.latency for one in points], [one.fitness for one in points], "o", ms=4.5, mfc="0.8",
              mec="0.4", ls="none")  # fmt: skip
    axes.step([1e3 * one.latency for one in best], [one.fitness for one in best], where="post", color="black",
              marker="s", ms=6.0, lw=1.2)  # fmt: skip
    told = [f"{1e3 * one.latency:.3g} ms  {one.fitness:.3f}  {one.composition.run_length()}" for one in best]
    axes.set_xlabel(f"{latency}, ms (predicted)")
    axes.set_ylabel(fitness)
    figure.supxlabel(
        "On the frontier, quickest first:\n" + "\n".join(told), fontsize=_FONT, x=0.02, ha="left"
    )
    _save(figure, path)


def draw_curves(curves: Sequence[Curve], path: Path, *, level: float, title: str, score: str) -> None:
    """Score over training steps, a line for each training, a style for each name; `level` is chance."""
    figure, axes = _figure(title)
    names = list(dict.fromkeys(curve.name for curve in curves))
    for name, dash, marker in zip(names, cycle(_DASHES), cycle(_MARKERS), strict=False):
        for index, curve in enumerate(one for one in curves if one.name == name):
            steps, scores = zip(*curve.points, strict=True)
            axes.plot(
                steps, scores, color="black", lw=1.1, ls=dash, marker=marker, ms=4.0, mfc="white",
                label=name if index == 0 else None,
            )  # fmt: skip
    axes.axhline(level, color="0.6", lw=0.8)
    axes.annotate("chance", (0.0, level), xytext=(2, 3), textcoords="offset points", fontsize=_FONT)
    axes.set_xlabel("training steps")
    axes.set_ylabel(score)
    figure.legend(fontsize=_FONT, frameon=False, handlelength=3.6, loc="outside lower center")
    _save(figure, path)


def _figure(title: str, *, height: float = 4.6) -> tuple[Any, Any]:
    with extra("compose"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  only for a picture
        from matplotlib.figure import Figure  # noqa: PLC0415  as above
    figure = Figure(figsize=(8.6, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    """Without the program's version in the file: the same picture has the same bytes."""
    for text in figure.findobj(lambda artist: hasattr(artist, "set_parse_math")):
        text.set_parse_math(False)  # a corpus is named by its file, and a dollar sign there begins no formula
    try:
        figure.savefig(path, format="png", metadata={"Software": None})
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be written ({error.strerror}). Make room or permission."
        ) from None
