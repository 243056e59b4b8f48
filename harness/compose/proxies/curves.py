"""Can a proxy tell? `python -m harness.compose.proxies.curves` trains stacks that learn and one that cannot.

A stack of `M` alone sees one token at a time, so on recall it can do no better than chance; the plain
transformer can. Prints scores with intervals and the paired difference from the first stack, writes JSON and
a picture of the training curves.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.compose.composition import Composition, parse
from harness.compose.engines.cached import Evaluations
from harness.compose.engines.opening import open_engine, open_results
from harness.compose.intervals import paired, t_interval
from harness.compose.proxies.presets import preset_of
from harness.compose.proxies.request import ProxyRequest, ProxyResult
from harness.compose.proxies.training import CANDIDATES, identities_of
from harness.report.compose_pictures import Curve, draw_curves
from verify.seeds import derive

STACKS = ("16M", "mA M " * 8, "mA M Mb M " * 4)


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A stack's results, seed by seed; the same seeds for every stack."""

    composition: Composition
    results: tuple[ProxyResult, ...]

    @property
    def scores(self) -> list[float]:
        return [result.score for result in self.results]


def train_all(
    stacks: Sequence[Composition], task: str, preset: str, seeds: int, evaluations: Evaluations
) -> list[Learned]:
    """Every stack from every seed, on the search split, for as many steps as the preset says."""
    requests = [
        ProxyRequest(
            tokens=stack.tokens,
            identities=identities_of(stack.tokens, task, preset),
            task=task,
            preset=preset,
            seed=derive(0, "curves", index),
            steps=preset_of(task, preset).steps,
        )
        for stack in stacks
        for index in range(seeds)
    ]
    results = [answer.result for answer in evaluations.answers(requests)]
    known = [result for result in results if result is not None]
    assert len(known) == len(requests), "every worker died"
    return [
        Learned(composition=stack, results=tuple(known[n * seeds : (n + 1) * seeds]))
        for n, stack in enumerate(stacks)
    ]


def rows(learned: Sequence[Learned], chance: float) -> list[dict[str, Any]]:
    """Score with its interval, difference from the first stack, and whether it is told apart from chance."""
    first = learned[0].scores
    return [
        {
            "composition": one.composition.run_length(),
            "score": t_interval(one.scores).to_json(),
            "minus_first": None if one is learned[0] else paired(one.scores, first).to_json(),
            "chance": chance,
            "cpu_seconds": sum(result.cpu_seconds for result in one.results) / len(one.results),
            "curves": [[[p.step, p.loss, p.score] for p in result.curve] for result in one.results],
        }
        for one in learned
    ]


def table(found: Sequence[dict[str, Any]]) -> str:
    """A line for each stack."""
    lines = [f"{'composition':<28} {'score':>7} {'95 % interval':>18} {'minus the first':>26} {'CPU s':>6}"]
    for row in found:
        score, gap = row["score"], row["minus_first"]
        told = "" if gap is None else f"{gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
        interval = f"[{score['low']:.3f}, {score['high']:.3f}]"
        lines.append(
            f"{row['composition'][:28]:<28} {score['mean']:>7.3f} {interval:>18} {told:>26} "
            f"{row['cpu_seconds']:>6.1f}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print, write JSON and the picture."""
    parser = argparse.ArgumentParser(prog="python -m harness.compose.proxies.curves", description=__doc__)
    parser.add_argument("--task", default="in-context-recall")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--seeds", type=int, default=3, help="from each, two or more")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--compositions", default=";".join(STACKS), help="apart by semicolons")
    parser.add_argument("--runs", type=Path, default=Path("runs/compose"), help="where results are kept")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder of curves.json and .png")
    options = parser.parse_args(arguments)
    stacks = [parse(text) for text in options.compositions.split(";")]
    chance = preset_of(options.task, options.preset).data("", 0).chance
    with (
        open_results(options.runs) as cache,
        open_engine("local", workers=options.workers, candidates=CANDIDATES, runs=options.runs) as engine,
    ):
        learned = train_all(stacks, options.task, options.preset, options.seeds, Evaluations(engine, cache))
    found = rows(learned, chance)
    sys.stdout.write(f"{options.task} at {options.preset}, chance {chance:.3f}\n{table(found)}\n")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "curves.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    draw_curves(
        [
            Curve(name=one.composition.run_length(), points=[(p.step, p.score) for p in result.curve])
            for one in learned
            for result in one.results
        ],
        options.out / "curves.png",
        level=chance,
        title=f"{options.task} at {options.preset}: every line is a seed",
        score="accuracy",
    )


if __name__ == "__main__":
    main()
