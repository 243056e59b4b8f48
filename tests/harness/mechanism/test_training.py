"""A bound mechanism trains: a network of two of its layers learns in-context recall, on either backend."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.mechanism import Backend, BoundMechanism, MixerModule, load_source
from tests.harness.mechanism.conftest import FADING, SKELETONS

KEYS, VOCABULARY = 8, 16
MAX_STEPS = 600


def recall_batch(count: int, generator: torch.Generator, keys: int = KEYS) -> torch.Tensor:
    """(count, 4 * keys) tokens: every key with its value once, then every key again, in another order, with
    its value.

    Keys are 0..7, values 8..15 and drawn anew for every sequence, so a value can only be known from the
    context.
    """
    order = torch.stack([torch.randperm(keys, generator=generator) for _ in range(count)])
    again = torch.stack([torch.randperm(keys, generator=generator) for _ in range(count)])
    values = torch.randint(KEYS, VOCABULARY, (count, keys), generator=generator)
    shown = torch.stack([order, values.gather(1, order)], dim=-1)
    asked = torch.stack([again, values.gather(1, again)], dim=-1)
    return torch.cat([shown, asked], dim=1).flatten(1)


class Recaller(nn.Module):
    """Embedding, two residual layers of one mechanism, and a linear read-out."""

    def __init__(self, bound: BoundMechanism, width: int, backend: Backend) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(3))
        self.mixers = nn.ModuleList(MixerModule(bound, width, heads=2, backend=backend) for _ in range(2))
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(tokens)
        for norm, mixer in zip(self.norms[:2], self.mixers, strict=True):
            hidden = hidden + mixer(norm(hidden))[0]
        return self.head(self.norms[2](hidden))


def answers(network: Recaller, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, vocabulary) and the right values (N,) at the keys of the second half."""
    half = tokens.shape[1] // 2
    return network(tokens[:, :-1])[:, half::2].flatten(0, 1), tokens[:, half + 1 :: 2].flatten()


def accuracy(network: Recaller, tokens: torch.Tensor) -> float:
    with torch.no_grad():
        logits, targets = answers(network, tokens)
    return (logits.argmax(-1) == targets).float().mean().item()


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [FADING, *(path for path in SKELETONS if path.stem == "token_decay")], ids=lambda path: path.stem
)
def test_two_layers_learn_in_context_recall(path) -> None:
    bound = load_source(path.read_bytes(), path=path.name)
    torch.manual_seed(0)
    network = Recaller(bound, width=32, backend="parallel")
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, betas=(0.9, 0.98), weight_decay=0.0)
    train, held_out = torch.Generator().manual_seed(1), recall_batch(256, torch.Generator().manual_seed(7))
    assert accuracy(network, held_out) < 0.2
    for step in range(MAX_STEPS):
        loss = nn.functional.cross_entropy(*answers(network, recall_batch(64, train)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 24 and accuracy(network, held_out) > 0.95:
            break
    assert accuracy(network, held_out) >= 0.9


def three_steps(bound: BoundMechanism, backend: Backend) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of three optimizer steps, and the gradients of the last one."""
    torch.manual_seed(4)
    network = Recaller(bound, width=8, backend=backend)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    generator, losses = torch.Generator().manual_seed(2), []
    for _ in range(3):
        loss = nn.functional.cross_entropy(*answers(network, recall_batch(2, generator, keys=3)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: parameter.grad for name, parameter in network.named_parameters()}


def test_kernels_train_like_the_parallel_form(bound: BoundMechanism) -> None:
    losses, gradients = three_steps(bound, "kernels")
    expected_losses, expected_gradients = three_steps(bound, "parallel")
    assert losses == pytest.approx(expected_losses, rel=1e-4)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-4, atol=1e-5, msg=name)
