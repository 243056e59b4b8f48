"""A model of bytes as lm-evaluation-harness sees one (`lm_eval.api.model.LM`, 0.4.13).

Needs lm-eval: import this module where it is used, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs
from torch import nn

from harness.compose.evaluation.byte_codec import START, decode, encode
from harness.errors import HarnessError

Answer = tuple[float, bool]
"""The natural log of a probability, and whether every byte was the most likely one."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What one row of a batch scores: `targets` are predicted at the last positions of `inputs`."""

    request: int
    inputs: tuple[int, ...]
    targets: tuple[int, ...]


def pieces(tokens: Sequence[int], scored: int, *, window: int, request: int = 0) -> Iterator[Piece]:
    """Rows that predict each of the last `scored` tokens exactly once, from at most `window` tokens before.

    Where one row is enough, it has all the context that fits. Otherwise every row predicts `window` tokens
    (the first of them from one token of context), and the last row the rest with a full window: lm-eval's
    own rolling windows with `context_len=1`.
    """
    first = len(tokens) - scored
    if first < 1:
        raise ValueError(f"scored: expected fewer than the {len(tokens)} tokens, got {scored}")
    while first < len(tokens):
        last = min(first + window, len(tokens))
        start = max(0, last - 1 - window)
        yield Piece(
            request=request, inputs=tuple(tokens[start : last - 1]), targets=tuple(tokens[first:last])
        )
        first = last


class ByteLM(LM):
    """`model` maps ids (B, T) int64 to logits (B, T, VOCAB) and is causal; T is never above `window`.

    Every text begins with START. Rows are batched by length, `batch` at a time, padded on the right, where a
    causal model does not look.
    """

    def __init__(self, model: nn.Module, *, window: int, batch: int = 32) -> None:
        super().__init__()
        if window < 1 or batch < 1:
            raise ValueError(f"window, batch: expected one or more, got {window} and {batch}")
        self.model, self.window, self.batch = model, window, batch
        self._device = next(model.parameters()).device

    @property
    def tokenizer_name(self) -> str:
        """Part of lm-eval's cache keys."""
        return "utf-8-bytes"

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Answer]:  # noqa: ARG002  lm-eval's
        """Of each continuation after its context (`args` is the pair), START before both."""
        rows = [
            piece
            for index, (context, continuation) in enumerate(request.args for request in requests)
            for piece in self._pieces(
                [*encode(context), *encode(continuation)], len(encode(continuation)), index
            )
        ]
        return self._answers("loglikelihood", requests, rows)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002  lm-eval's
        """Of each whole text (`args` is a tuple of it alone), each text by itself, after START."""
        rows = [
            piece
            for index, (text,) in enumerate(request.args for request in requests)
            for piece in self._pieces(encode(text), len(encode(text)), index)
        ]
        answers = self._answers("loglikelihood_rolling", requests, rows, keep=lambda answer: answer[0])
        return [logprob for logprob, _ in answers]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002  lm-eval's
        """The most likely bytes after each context, up to the first stop sequence or `max_gen_toks` bytes.

        `args` is (context, settings). Raises HarnessError where the settings ask for sampling.
        """
        rows = [_Generation.begin(index, *request.args) for index, request in enumerate(requests)]
        for start in range(0, len(rows), self.batch):
            self._generate(rows[start : start + self.batch])
        texts = [row.text() for row in rows]
        for request, text in zip(requests, texts, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, text)
        return texts

    def _pieces(self, ids: list[int], scored: int, request: int) -> Iterator[Piece]:
        return pieces([START, *ids], scored, window=self.window, request=request)

    def _answers(
        self,
        kind: str,
        requests: list[Instance],
        rows: list[Piece],
        keep: Callable[[Answer], Any] = lambda answer: answer,
    ) -> list[Answer]:
        """Sums over the rows of each request; an empty text is certain."""
        sums, greedy = [0.0] * len(requests), [True] * len(requests)
        by_length = sorted(rows, key=lambda row: (len(row.inputs), row.request))
        for start in range(0, len(rows), self.batch):
            part = by_length[start : start + self.batch]
            for row, (logprob, best) in zip(part, self._score(part), strict=True):
                sums[row.request] += logprob
                greedy[row.request] &= best
        answers = list(zip(sums, greedy, strict=True))
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial(kind, request.args, keep(answer))
        return answers

    def _score(self, rows: Sequence[Piece]) -> list[Answer]:
        logits = self._logits([row.inputs for row in rows])
        answers = []
        for row, row_logits in zip(rows, logits, strict=True):
            end = len(row.inputs)
            scores = row_logits[end - len(row.targets) : end].double().log_softmax(-1)
            targets = torch.tensor(row.targets, device=scores.device)
            logprob = scores.gather(-1, targets[:, None]).sum()
            answers.append((float(logprob), bool((scores.argmax(-1) == targets).all())))
        return answers

    def _logits(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """(len(rows), longest, VOCAB) for rows of ids, padded on the right."""
        ids = torch.full((len(rows), max(map(len, rows))), START)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
        self.model.eval()
        with torch.inference_mode():
            logits: torch.Tensor = self.model(ids.to(self._device))
        return logits

    def _generate(self, rows: Sequence[_Generation]) -> None:
        """One byte for all rows that go on, until none does. Without a cache: these models are small."""
        while going := [row for row in rows if not row.finished()]:
            inputs = [row.ids[-self.window :] for row in going]
            logits = self._logits(inputs)
            for row, row_inputs, row_logits in zip(going, inputs, logits, strict=True):
                # START is no byte: a text does not contain it.
                row.ids.append(int(row_logits[len(row_inputs) - 1, :START].argmax()))


@dataclass(kw_only=True)
class _Generation:
    """One text that grows: `ids` are START, the context and what was generated after it."""

    ids: list[int]
    begin_at: int
    stops: tuple[bytes, ...]
    limit: int

    @classmethod
    def begin(cls, index: int, context: str, settings: dict[str, Any]) -> _Generation:
        wanted = normalize_gen_kwargs(settings)
        if wanted["do_sample"]:
            raise HarnessError(
                f"generate_until: expected greedy decoding, got do_sample=True in request {index}. "
                "Pass gen_kwargs='do_sample=False'."
            )
        ids = [START, *encode(context)]
        stops = tuple(stop.encode() for stop in wanted["until"] if stop)
        return cls(ids=ids, begin_at=len(ids), stops=stops, limit=wanted["max_gen_toks"])

    def finished(self) -> bool:
        made = bytes(self.ids[self.begin_at :])
        return len(made) >= self.limit or any(stop in made for stop in self.stops)

    def text(self) -> str:
        """What was generated, before the first stop sequence."""
        made = bytes(self.ids[self.begin_at :])
        ends = [made.find(stop) for stop in self.stops if stop in made]
        return decode(list(made[: min(ends, default=len(made))]))
