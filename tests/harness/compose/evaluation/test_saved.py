from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.compose.evaluation.pretrain import pretrain
from harness.compose.evaluation.saved import (
    DESCRIPTION,
    WEIGHTS,
    SavedModelRefused,
    is_saved_model,
    load_model,
    read_description,
    save_model,
)
from harness.compose.primitives.alphabet import BUILT_IN, Alphabet, built_in
from harness.errors import WrongUsage
from tests.harness.compose.evaluation.tiny import RECIPE, tiny_model

IDS = torch.arange(40).reshape(2, 20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path, tiny_model(seed=5), built_in(), None)
    return tmp_path


def change(folder: Path, name: str, value: object) -> None:
    path = folder / DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))


def test_a_loaded_model_gives_the_same_bits(folder: Path) -> None:
    model, description = load_model(folder, built_in())
    assert torch.equal(model(IDS), tiny_model(seed=5)(IDS))
    assert (description.composition, description.shape) == (model.composition, model.shape)


def test_saving_twice_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "again", tiny_model(seed=5), built_in(), None)
    for name in (WEIGHTS, DESCRIPTION):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_the_training_record_is_kept(tmp_path: Path) -> None:
    model = tiny_model()
    record = pretrain(model, replace(RECIPE, steps=2), name="m")
    save_model(tmp_path, model, built_in(), record)
    assert read_description(tmp_path).training == record


def test_weights_of_another_source_are_refused_by_token_and_hashes(folder: Path) -> None:
    attention, *others = BUILT_IN
    changed = Alphabet(primitives=(replace(attention, identity="edited"), *others))
    expected = rf"mA: expected {attention.identity}, got edited.*train the model again"
    with pytest.raises(SavedModelRefused, match=expected):
        load_model(folder, changed)


def test_an_alphabet_without_its_token_is_wrong_usage(folder: Path) -> None:
    lacking = Alphabet(primitives=tuple(letter for letter in BUILT_IN if letter.token != "mA"))
    with pytest.raises(WrongUsage, match="primitive 'mA'"):
        load_model(folder, lacking)


def test_changed_weights_are_refused(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(SavedModelRefused, match="damaged or another's"):
        load_model(folder, built_in())


def test_weights_that_do_not_fit_the_description_are_refused(folder: Path) -> None:
    change(folder, "composition", "mA M M")
    with pytest.raises(SavedModelRefused, match="expected the weights of its description"):
        load_model(folder, built_in())


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def no_description(folder: Path) -> None:
    (folder / DESCRIPTION).unlink()


def other_format(folder: Path) -> None:
    change(folder, "format", 0)


def no_json(folder: Path) -> None:
    (folder / DESCRIPTION).write_text("{")


def other_sizes(folder: Path) -> None:
    change(folder, "shape", {"width": 3})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weights", 5),
        ("composition", 7),
        ("composition", "mA -"),
        ("identities", 5),
        ("identities", {"mA": 5}),
        ("training", 5),
        ("shape", 5),
    ],
)
def test_a_description_with_a_field_of_another_kind_is_refused_in_one_line(
    folder: Path, field: str, value: object
) -> None:
    change(folder, field, value)
    with pytest.raises(SavedModelRefused, match=r"expected the description of a saved model, got .*Restore"):
        load_model(folder, built_in())


@pytest.mark.parametrize("damage", [no_weights, no_description, other_format, no_json, other_sizes])
def test_a_damaged_folder_is_refused_in_one_line(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    with pytest.raises(SavedModelRefused) as refusal:
        load_model(folder, built_in())
    assert "\n" not in str(refusal.value)
    assert str(folder) in str(refusal.value)


def test_a_folder_without_description_is_no_saved_model(folder: Path) -> None:
    assert is_saved_model(folder)
    no_description(folder)
    assert not is_saved_model(folder)
