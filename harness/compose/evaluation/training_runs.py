"""Trained models by what they are: trained once, kept in a folder of their own, loaded ever after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.compose.composition import Composition
from harness.compose.corpus import corpus_hash
from harness.compose.evaluation.pretrain import Point, Recipe, pretrain
from harness.compose.evaluation.saved import is_saved_model, load_model, save_model
from harness.compose.model import ComposedModel
from harness.compose.primitives.alphabet import Alphabet
from harness.compose.shape import ModelShape
from harness.files import remove_partial
from harness.locks import exclusive

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A composition of some sizes, to be trained by a recipe from the recipe's seed."""

    composition: Composition
    shape: ModelShape
    recipe: Recipe

    def initial(self, alphabet: Alphabet) -> ComposedModel:
        """The model before its first step."""
        return ComposedModel(self.composition, alphabet, self.shape, seed=self.recipe.seed)

    def name(self, alphabet: Alphabet) -> str:
        """Everything that the result hangs on, as one line of JSON."""
        values = {
            "composition": self.composition.tokens,
            "identities": dict(alphabet.identities(self.composition.tokens)),
            "shape": asdict(self.shape),
            "recipe": asdict(self.recipe),
            "corpus": corpus_hash(),
        }
        return json.dumps(values, sort_keys=True)


def trained(
    run: TrainingRun,
    alphabet: Alphabet,
    models: Path,
    *,
    report: Callable[[Point], None] = lambda _: None,
    waiting: Callable[[Path], None] = lambda _: None,
) -> tuple[ComposedModel, Path]:
    """The trained model and its folder in `models`; a run that was killed goes on from its checkpoint.

    Where another process trains it, this one calls `waiting` with the folder, and waits for that. Raises
    HarnessError where training diverges or a folder is damaged.
    """
    name = run.name(alphabet)
    folder = models / hashlib.sha256(name.encode()).hexdigest()[:16]
    if not is_saved_model(folder):  # those that are need no lock: the folder may be one to read only
        with exclusive(folder, waiting=lambda: waiting(folder)):
            remove_partial(folder)
            if not is_saved_model(folder):  # by the one that was waited for
                model = run.initial(alphabet)
                record = pretrain(model, run.recipe, name=name, checkpoint=folder / CHECKPOINT, report=report)
                save_model(folder, model, alphabet, record)
            (folder / CHECKPOINT).unlink(missing_ok=True)
    return load_model(folder, alphabet)[0], folder
