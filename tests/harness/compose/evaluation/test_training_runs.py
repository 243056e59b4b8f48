from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.compose.composition import parse
from harness.compose.evaluation.pretrain import Point
from harness.compose.evaluation.saved import DESCRIPTION, WEIGHTS
from harness.compose.evaluation.training_runs import CHECKPOINT, TrainingRun, trained
from harness.compose.primitives.alphabet import built_in
from harness.locks import exclusive
from tests.harness.compose.evaluation.tiny import RECIPE, RUN, SHAPE

IDS = torch.arange(40).reshape(2, 20)


class Killed(BaseException):
    pass


def killed(point: Point) -> None:
    if point.step > 4:
        raise Killed


def test_a_model_is_trained_once_and_loaded_ever_after(tmp_path: Path) -> None:
    steps: list[int] = []
    first, folder = trained(RUN, built_in(), tmp_path, report=lambda point: steps.append(point.step))
    second, again = trained(RUN, built_in(), tmp_path, report=lambda point: steps.append(point.step))
    assert folder == again
    assert steps == [2, 4, 6, 8]
    assert torch.equal(first(IDS), second(IDS))
    assert not torch.equal(first(IDS), RUN.initial(built_in())(IDS))


def test_a_killed_run_goes_on_and_writes_the_same_weights(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(RUN, built_in(), tmp_path / "a", report=killed)
    steps: list[int] = []
    _, folder = trained(RUN, built_in(), tmp_path / "a", report=lambda point: steps.append(point.step))
    _, whole = trained(RUN, built_in(), tmp_path / "b")
    assert steps == [6, 8]
    assert (folder / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == sorted([WEIGHTS, DESCRIPTION])


def test_a_run_that_another_trains_waits_and_then_takes_what_that_one_made(tmp_path: Path) -> None:
    _, made = trained(RUN, built_in(), tmp_path / "other")
    folder = tmp_path / "models" / made.name
    told: list[Path] = []
    steps: list[int] = []

    def wait(where: Path) -> None:
        told.append(where)
        for path in made.iterdir():
            shutil.copy(path, folder)
        holder.close()

    with ExitStack() as holder:
        holder.enter_context(exclusive(folder))
        trained(
            RUN, built_in(), tmp_path / "models", report=lambda point: steps.append(point.step), waiting=wait
        )
    assert told == [folder]
    assert steps == []


def test_what_killed_runs_left_is_removed(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(RUN, built_in(), tmp_path, report=killed)
    (folder,) = tmp_path.iterdir()
    (folder / f".{CHECKPOINT}.17.abc.partial").touch()
    trained(RUN, built_in(), tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted([WEIGHTS, DESCRIPTION])


@pytest.mark.parametrize(
    "other",
    [
        replace(RUN, composition=parse("M mA")),
        replace(RUN, shape=SHAPE.with_(ffn=40)),
        replace(RUN, recipe=replace(RECIPE, seed=1)),
    ],
)
def test_other_runs_have_other_names(other: TrainingRun) -> None:
    assert other.name(built_in()) != RUN.name(built_in())
