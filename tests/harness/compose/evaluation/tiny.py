"""Models and recipes that take a moment."""

from __future__ import annotations

from harness.compose.composition import parse
from harness.compose.evaluation.byte_codec import VOCAB
from harness.compose.evaluation.pretrain import Recipe
from harness.compose.evaluation.training_runs import TrainingRun
from harness.compose.model import ComposedModel
from harness.compose.primitives.alphabet import built_in
from harness.compose.shape import ModelShape

SHAPE = ModelShape(
    d_model=32, heads=1, kv_heads=1, head_dim=32, ffn=32, vocab=VOCAB, ssm_state=16, ssm_head_dim=32
)
RECIPE = Recipe(steps=8, batch=4, context=16, warmup=2, interval=2)
RUN = TrainingRun(composition=parse("mA M"), shape=SHAPE, recipe=RECIPE)


def tiny_model(seed: int = 0) -> ComposedModel:
    return ComposedModel(RUN.composition, built_in(), SHAPE, seed=seed)
