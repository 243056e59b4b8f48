"""Models whose probabilities a test can work out by hand."""

from __future__ import annotations

import torch
from torch import nn

from harness.compose.evaluation.byte_codec import START, VOCAB


class Bigram(nn.Module):
    """The next byte depends on the last one alone; START and bytes by a seeded table of logits."""

    def __init__(self) -> None:
        super().__init__()
        table = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(7))
        self.table = nn.Parameter(table)
        self.logprobs = table.double().log_softmax(-1).tolist()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table[ids]

    def logprob(self, before: int, token: int) -> float:
        return float(self.logprobs[before][token])

    def best(self, before: int) -> int:
        return int(self.table[before].argmax())


class Counter(nn.Module):
    """Position t answers with byte (number of ids up to t, START not counted) mod 256, surely; notes the
    longest row that it was asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(50.0))
        self.longest = 0

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        self.longest = max(self.longest, ids.shape[1])
        seen = (ids != START).cumsum(-1) % 256
        return self.scale * nn.functional.one_hot(seen, VOCAB)
