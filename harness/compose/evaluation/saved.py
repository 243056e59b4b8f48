"""A trained composition as a folder: `model.safetensors` and `composition.json`, for others to load.

The second file says which layers, sizes and sources the weights belong to. A mechanism is kept by the hash of
its source: weights under another source would be another model, so loading refuses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from harness.compose.composition import Composition, parse
from harness.compose.evaluation.pretrain import TrainingRecord
from harness.compose.model import ComposedModel
from harness.compose.primitives.alphabet import Alphabet
from harness.compose.shape import ModelShape
from harness.errors import HarnessError, WrongUsage
from harness.files import is_file, write_atomically

FORMAT = 1
"""Goes up when the files change; an older folder is refused by name."""
WEIGHTS, DESCRIPTION = "model.safetensors", "composition.json"


class SavedModelRefused(HarnessError):
    """A folder whose weights cannot be used here: damaged, of another format, or of other sources."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """`composition.json`. `identities` maps each token to what its layer's results hang on; `weights` is the
    SHA-256 of the other file; `training` is None for a model that was only initialised.
    """

    composition: Composition
    shape: ModelShape
    identities: Mapping[str, str]
    weights: str
    training: TrainingRecord | None

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "composition": str(self.composition),
            "shape": asdict(self.shape),
            "identities": dict(self.identities),
            "weights": self.weights,
            "training": None if self.training is None else asdict(self.training),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Description:
        """What `to_json` made. Raises KeyError, TypeError, ValueError or WrongUsage for anything else."""
        training = values["training"]
        for text in (values["composition"], values["weights"], *dict(values["identities"]).values()):
            if not isinstance(text, str):
                raise TypeError(f"expected text, got {text!r}")
        return cls(
            composition=parse(values["composition"]),
            shape=ModelShape(**values["shape"]),
            identities=dict(values["identities"]),
            weights=values["weights"],
            training=None if training is None else TrainingRecord.from_json(training),
        )


def save_model(
    folder: Path, model: ComposedModel, alphabet: Alphabet, training: TrainingRecord | None
) -> Description:
    """Write both files, the description last: a folder without it is no saved model. Raises HarnessError."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    data = save(tensors, metadata={"format": "pt"})
    description = Description(
        composition=model.composition,
        shape=model.shape,
        identities=alphabet.identities(model.composition.tokens),
        weights=hashlib.sha256(data).hexdigest(),
        training=training,
    )
    write_atomically(folder / WEIGHTS, data)
    text = json.dumps(description.to_json(), indent=2, sort_keys=True) + "\n"
    write_atomically(folder / DESCRIPTION, text.encode())
    return description


def is_saved_model(folder: Path) -> bool:
    """Whether there is a description, of whatever content."""
    return is_file(folder / DESCRIPTION)


def read_description(folder: Path) -> Description:
    """Raises SavedModelRefused where there is none, or one that this version does not read."""
    path = folder / DESCRIPTION
    try:
        values = json.loads(path.read_bytes())
        if values["format"] != FORMAT:
            raise SavedModelRefused(
                f"{path}: expected format {FORMAT}, got {values['format']}. Train the model again."
            )
        return Description.from_json(values)
    except OSError as error:
        raise SavedModelRefused(
            f"{path}: expected a saved model, got {error.strerror}. Name a folder that training wrote."
        ) from None
    except (ValueError, KeyError, TypeError, WrongUsage) as error:
        raise SavedModelRefused(
            f"{path}: expected the description of a saved model, got {type(error).__name__}: {error}. "
            "Restore the file, or train the model again."
        ) from None


def load_model(folder: Path, alphabet: Alphabet) -> tuple[ComposedModel, Description]:
    """The model with its weights, on the CPU. Raises SavedModelRefused, and WrongUsage for a token that the
    alphabet lacks.
    """
    description = read_description(folder)
    _check_identities(folder, description, alphabet)
    model = ComposedModel(description.composition, alphabet, description.shape)
    tensors = _read_weights(folder / WEIGHTS, description.weights)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise SavedModelRefused(
            f"{folder / WEIGHTS}: expected the weights of its description, got {error}"
        ) from None
    return model, description


def _check_identities(folder: Path, description: Description, alphabet: Alphabet) -> None:
    here = alphabet.identities(description.composition.tokens)
    other = [token for token in here if here[token] != description.identities.get(token)]
    if other:
        were = description.identities
        changes = "; ".join(
            f"{token}: expected {_short(were.get(token, 'nothing'))}, got {_short(here[token])}"
            for token in other
        )
        raise SavedModelRefused(
            f"{folder}: expected the sources that the weights were trained with, got others ({changes}). "
            "Restore those sources, or train the model again."
        )


def _read_weights(path: Path, expected: str) -> dict[str, torch.Tensor]:
    try:
        data = path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != expected:
            raise SavedModelRefused(
                f"{path}: expected the SHA-256 {_short(expected)} of its description, got {_short(found)}. "
                "The file is damaged or another's: copy both files again."
            )
        tensors: dict[str, torch.Tensor] = load(data)
    except OSError as error:
        raise SavedModelRefused(
            f"{path}: expected weights, got {error.strerror}. Copy the file again."
        ) from None
    except SafetensorError as error:
        raise SavedModelRefused(f"{path}: expected weights, got {error}. Train the model again.") from None
    return tensors


def _short(identity: str) -> str:
    return identity[:12]
