from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.commands import compose_extrapolate, compose_show
from harness.commands.compose_run import ComposeRequest, default_rungs, run
from harness.compose.proxies.presets import preset_of
from harness.errors import HarnessError, WrongUsage
from harness.locks import exclusive
from tests.harness.compose.evaluations import evaluate

REQUEST = ComposeRequest(
    primitives=("mA", "M", "Mb"),
    layers=4,
    budget=8,
    sampler="random",
    seed=0,
    task="in-context-recall",
    preset="tiny",
    rungs=None,
    others=("selective-copying",),
    study="quick",
    engine="local",
    workers=1,
    limits=None,
    candidates=Path("candidates"),
    runs=Path("runs"),
    as_json=False,
    output=None,
)


def console(width: int = 120) -> Console:
    return Console(file=io.StringIO(), width=width)


def printed(one: Console) -> str:
    assert isinstance(one.file, io.StringIO)
    return one.file.getvalue()


def composed(runs: Path, **changes: object) -> tuple[str, str]:
    """What a job with cheap scores writes to stdout and stderr."""
    stdout, stderr = console(), console()
    request = replace(REQUEST, runs=runs, **changes)  # type: ignore[arg-type]
    assert run(request, stdout=stdout, stderr=stderr, evaluation=evaluate) == 0
    return printed(stdout), printed(stderr)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished job with controls: its folder of runs and its JSON document."""
    runs = tmp_path_factory.mktemp("runs")
    stdout, _ = composed(runs, as_json=True, study="full")
    return runs, stdout


def folder_of(finished: tuple[Path, str]) -> Path:
    return finished[0] / json.loads(finished[1])["study"]


def test_a_job_leaves_three_configurations_within_three_percent_and_pictures(
    finished: tuple[Path, str],
) -> None:
    document = json.loads(finished[1])
    counts = [one["counts"]["parameters"] for one in document["configurations"]]
    assert [
        abs(count / wanted - 1) < 0.03 for count, wanted in zip(counts, (350e6, 1e9, 3e9), strict=True)
    ] == [
        True,
        True,
        True,
    ]
    folder = folder_of(finished)
    for one in document["configurations"]:
        assert json.loads((folder / "extrapolated" / one["file"]).read_text())["name"] == one["name"]
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == [
        "latency.png",
        "layers.png",
        "progress.png",
    ]


def test_a_size_that_no_shape_reaches_is_told_and_keeps_nothing_else_back(tmp_path: Path) -> None:
    """64 layers of Mb at 350M: the next width is more than 6 % larger."""
    stdout, _ = composed(tmp_path, as_json=True, primitives=("Mb",), layers=64, others=())
    document = json.loads(stdout)
    assert [one["name"].partition("-")[0] for one in document["configurations"]] == ["1B", "3B"]
    (reason,) = document["unreached"]
    assert reason.startswith("350M: 64Mb: expected a shape within 3 %")
    assert document["final"]


def test_controls_are_told_with_their_differences(finished: tuple[Path, str]) -> None:
    controls = json.loads(finished[1])["controls"]
    assert [one["sampler"] for one in controls["searches"]] == ["random", "tpe"]
    assert [one["control"] for one in controls["statements"]] == ["tpe"]


def test_the_same_job_again_evaluates_nothing_and_says_the_same(finished: tuple[Path, str]) -> None:
    runs, before = finished
    again, _ = composed(runs, as_json=True, study="full")
    assert json.loads(again) == json.loads(before)


def test_tables_end_with_a_sentence_that_says_what_to_do_next(finished: tuple[Path, str]) -> None:
    stdout, _ = composed(finished[0])
    assert "Finalists, best over all tasks first" in stdout
    assert stdout.rstrip().splitlines()[-1].endswith("or another --seed.")


def test_show_tells_of_trials_re_tests_and_costs(finished: tuple[Path, str]) -> None:
    study = json.loads(finished[1])["study"]
    stdout = console()
    assert compose_show.run(study, runs=finished[0], best=3, as_json=False, stdout=stdout) == 0
    assert "Re-tested on the selection split" in printed(stdout)
    assert "8 trials:" in printed(stdout)


@pytest.mark.parametrize("what", ["STUDY", "composer-best", "2A+M+Mb"])
def test_a_study_a_baseline_and_a_composition_extrapolate(
    finished: tuple[Path, str], tmp_path: Path, what: str
) -> None:
    name = json.loads(finished[1])["study"] if what == "STUDY" else what
    stdout = console()
    code = compose_extrapolate.run(
        name,
        targets=["350m"],
        method="stretch",
        runs=finished[0],
        candidates=Path("candidates"),
        out=tmp_path,
        as_json=True,
        stdout=stdout,
    )
    (written,) = json.loads(printed(stdout))
    assert code == 0
    assert abs(written["counts"]["parameters"] / 350e6 - 1) < 0.03
    assert Path(written["file"]).is_file()


def test_what_is_neither_study_nor_baseline_nor_composition_is_told_all_three(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match=r"(?s)study.*baseline.*composition"):
        compose_extrapolate.run(
            "what?",
            targets=["1b"],
            method="stretch",
            runs=tmp_path,
            candidates=Path("candidates"),
            out=None,
            as_json=False,
            stdout=console(),
        )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"primitives": ("mA", "Mc")}, "nearest: "),
        ({"task": "in-context-recal"}, "expected a task of"),
        ({"rungs": "10:1"}, "300 steps or more"),
        ({"budget": 0}, "budget: expected 1 or more"),
        ({"sampler": "grid"}, "Choose one of|Did you mean"),
        ({"output": Path("nowhere/x.json")}, "--output: expected a file"),
    ],
)
def test_wrong_wishes_are_refused_before_anything_is_evaluated(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(HarnessError, match=said):
        composed(tmp_path, **changes)


def test_a_study_that_another_process_has_is_not_touched(tmp_path: Path, finished: tuple[Path, str]) -> None:
    with exclusive(folder_of(finished)), pytest.raises(HarnessError, match="another run is using it"):
        composed(finished[0])


def test_default_rungs_never_lie_below_the_transition() -> None:
    preset = preset_of("in-context-recall", "tiny")
    assert all(rung.steps >= preset.rung for rung in default_rungs(preset))
