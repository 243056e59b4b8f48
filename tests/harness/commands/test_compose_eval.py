"""The command over tiny models. Its imports of lm-eval take seconds: one module for all of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.commands.compose_eval import EvalRequest, baseline_run, requested_run, run_eval
from harness.compose.counts import parameters
from harness.compose.evaluation.saved import DESCRIPTION
from harness.compose.evaluation.training_runs import trained
from harness.compose.primitives.alphabet import built_in
from harness.compose.primitives.mechanism import PrimitiveRefused
from harness.errors import HarnessError, WrongUsage
from tests.harness.compose.evaluation.tiny import RUN

ROOT = Path(__file__).parents[3]
MECHANISM = ROOT / "candidates" / "linear_state" / "head-decay-sigmoid-softpeak-unit-pzbb45xn"

pytest.importorskip("lm_eval", reason="lm-eval is optional")


def small_request(folder: Path, **changes: Any) -> EvalRequest:
    settings = {"composition": "mA mA", "width": 32, "steps": 4, "batch": 4, "context": 32, "limit": 6}
    return EvalRequest(**{**settings, "models": folder / "models", **changes})


def run(request: EvalRequest) -> str:
    stdout = StringIO()
    console = Console(file=stdout, width=150)
    assert run_eval(request, stdout=console, stderr=Console(file=StringIO())) == 0
    return stdout.getvalue()


def test_it_sets_composition_baseline_and_untrained_model_side_by_side(tmp_path: Path) -> None:
    shown = run(small_request(tmp_path, output=tmp_path / "o.json"))
    document = json.loads((tmp_path / "o.json").read_text())
    models = {model["name"]: model for model in document["models"]}
    assert list(models) == ["composition", "baseline", "untrained"]
    assert [model["composition"] for model in models.values()] == ["2mA", "mA+M", "2mA"]
    for model in document["models"]:
        assert {score["metric"] for score in model["scores"]} == {"bits_per_byte", "acc"}
        assert all(score["items"] == 6 and score["stderr"] >= 0 for score in model["scores"])
    assert shown.count("pydoc_bits_per_byte") == 6  # lm-eval's three tables, and three rows of ours
    assert "minus composition" in shown


def test_the_same_command_gives_the_same_document(tmp_path: Path) -> None:
    request = small_request(tmp_path, alone=True, as_json=True)
    assert run(request) == run(request)
    assert [model["name"] for model in json.loads(run(request))["models"]] == ["composition"]


def test_a_saved_model_is_evaluated_as_it_is(tmp_path: Path) -> None:
    _, folder = trained(RUN, built_in(), tmp_path)
    document = json.loads(run(small_request(tmp_path, composition=str(folder), alone=True, as_json=True)))
    (model,) = document["models"]
    assert (model["composition"], model["folder"]) == ("mA+M", str(folder))
    assert requested_run(small_request(tmp_path, composition=str(folder))) == (RUN, folder)


def test_a_model_of_another_corpus_is_not_asked_what_it_may_have_learned(tmp_path: Path) -> None:
    _, folder = trained(RUN, built_in(), tmp_path)
    values = json.loads((folder / DESCRIPTION).read_text())
    values["training"] |= {"corpus": "0" * 64, "python": "3.99.0"}
    (folder / DESCRIPTION).write_text(json.dumps(values))
    with pytest.raises(HarnessError, match=r"got Python 3\.99\.0's"):
        requested_run(small_request(tmp_path, composition=str(folder)))
    other_task = small_request(tmp_path, composition=str(folder), tasks=("lambada_openai",))
    assert requested_run(other_task)[1] == folder


def test_a_saved_model_is_refused_once_the_source_of_its_mechanism_was_edited(tmp_path: Path) -> None:
    mechanism = tmp_path / "candidates" / "linear_state" / MECHANISM.name
    shutil.copytree(MECHANISM, mechanism)
    token = MECHANISM.name[-8:]
    request = small_request(tmp_path, candidates=tmp_path / "candidates", alone=True, as_json=True)
    (model,) = json.loads(run(replace(request, composition=f"M {token}")))["models"]
    saved = replace(request, composition=model["folder"])
    (again,) = json.loads(run(saved))["models"]
    assert again == model
    source = mechanism / "mechanism.py"
    source.write_text(source.read_text() + "\n\nEDITED = True\n")
    with pytest.raises(PrimitiveRefused) as refusal:
        run(saved)
    assert str(source) in str(refusal.value)


@pytest.mark.parametrize("text", ["mA mA", "Mb M Mb M", "4M+2mA"])
def test_the_baseline_is_a_transformer_of_equal_depth_size_and_recipe(tmp_path: Path, text: str) -> None:
    asked, _ = requested_run(small_request(tmp_path, composition=text, width=64))
    other = baseline_run(asked, built_in())
    sizes = [parameters(one.composition, built_in(), one.shape) for one in (asked, other)]
    assert abs(sizes[1] - sizes[0]) <= 0.03 * sizes[0]
    assert len(other.composition) == len(asked.composition)
    assert set(other.composition.tokens[::2]) == {"mA"}
    assert set(other.composition.tokens[1::2]) == {"M"}
    assert replace(other, composition=asked.composition, shape=asked.shape) == asked


def test_a_composition_without_a_baseline_of_its_size_is_found_before_training(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="Change d_model"):
        run(small_request(tmp_path, composition="M"))
    assert not (tmp_path / "models").exists()


def test_a_width_without_heads_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="--width: expected a multiple of 32, got 40"):
        run(small_request(tmp_path, width=40))


def test_an_unknown_task_is_found_before_training(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="tasks: expected names"):
        run(small_request(tmp_path, tasks=()))
    assert not (tmp_path / "models").exists()


def test_an_output_that_cannot_be_written_is_found_before_training(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="--output"):
        run(small_request(tmp_path, output=tmp_path / "no" / "o.json"))
    assert not (tmp_path / "models").exists()


def test_without_lm_eval_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(HarnessError, match="pip install"):
        run(small_request(tmp_path))
