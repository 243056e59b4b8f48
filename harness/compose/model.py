"""A composition as a language model: embedding, pre-norm residual layers, head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from harness.compose.composition import Composition
from harness.compose.counts import check_evidence
from harness.compose.primitives.alphabet import Alphabet
from harness.compose.shape import ModelShape

RESIDUAL_OUTPUTS = ("out", "out_proj")
"""How a primitive calls its last matrix, whose result is added to the residual stream."""


class ResidualLayer(nn.Module):
    """x + mixer(rmsnorm(x)), both (B, T, d_model)."""

    def __init__(self, mixer: nn.Module, shape: ModelShape) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(shape.d_model, eps=shape.norm_eps)
        self.mixer = mixer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mixer(self.norm(x))


class ComposedModel(nn.Module):
    """Token ids (B, T) -> logits (B, T, vocab), or a loss where targets are given.

    Names in `state_dict`: `embedding.weight`, `layers.<i>.norm.weight`, `layers.<i>.mixer.*`, `norm.weight`,
    and `head.weight` unless tied. The weights are a function of composition, shape, `seed` and `std`. Raises
    WrongUsage for a token that the alphabet lacks, ValueError for sizes that a primitive cannot have, and,
    but on the meta device, PrimitiveRefused for mechanisms that no device has timed in a model above 100M.
    """

    def __init__(
        self,
        composition: Composition,
        alphabet: Alphabet,
        shape: ModelShape,
        *,
        seed: int = 0,
        std: float | None = None,
    ) -> None:
        """`std` is that of matrices at the start; None takes d_model^-0.5."""
        super().__init__()
        if torch.get_default_device().type != "meta":
            check_evidence(composition, alphabet, shape)
        self.composition, self.shape = composition, shape
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(shape.vocab, shape.d_model)
            self.layers = nn.ModuleList(
                ResidualLayer(alphabet[token].build(shape), shape) for token in composition.tokens
            )
            self.norm = nn.RMSNorm(shape.d_model, eps=shape.norm_eps)
            self.head = None if shape.tied else nn.Linear(shape.d_model, shape.vocab, bias=False)
            self._initialise(shape.d_model**-0.5 if std is None else std)

    def forward(
        self, ids: torch.Tensor, targets: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`ids` (B, T) int64 -> logits (B, T, vocab); with `targets` (B, T) int64, the mean cross-entropy in
        nats, a float32 scalar, over the positions where `mask` (B, T) bool holds (all, where it is None).

        Logits are computed only where the loss looks.
        """
        x = self.hidden(ids)
        if targets is None:
            return self.logits(x)
        if mask is not None:
            x, targets = x[mask], targets[mask]
        return F.cross_entropy(self.logits(x).flatten(0, -2).float(), targets.flatten())

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """`ids` (B, T) -> what the head sees, (B, T, d_model): the residual stream after the last norm."""
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., d_model) -> (..., vocab)."""
        return F.linear(hidden, self.embedding.weight if self.head is None else self.head.weight)

    def _initialise(self, std: float) -> None:
        """Matrices N(0, std^2). With 1 / d_model that is the usual 0.02^2 at the widths of large models, and
        keeps narrow ones from starting with layers that do next to nothing. Those that add to the residual
        stream are smaller by sqrt(layers), as in GPT-2, whose 2N additions are our layers. What is not a
        matrix of a Linear is the primitive's.
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                last = name.rsplit(".", 1)[-1] in RESIDUAL_OUTPUTS
                nn.init.normal_(module.weight, std=std / len(self.layers) ** 0.5 if last else std)
