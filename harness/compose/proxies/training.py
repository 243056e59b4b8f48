"""Train a composition on a proxy and score it: one pure function of its request."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F

from harness.compose.composition import Composition
from harness.compose.model import ComposedModel
from harness.compose.primitives.alphabet import Alphabet, resolve
from harness.compose.proxies.checkpoints import Checkpoints, Progress
from harness.compose.proxies.data import Batch, Data
from harness.compose.proxies.optimizer import FlatAdamW
from harness.compose.proxies.presets import Preset, preset_of
from harness.compose.proxies.readout import LastStateDecoder, ProxyModel
from harness.compose.proxies.request import CurvePoint, ProxyRequest, ProxyResult
from harness.errors import HarnessError
from verify.seeds import derive

CANDIDATES = Path("candidates")
EXPLODED = 3.0
"""A loss counts as bad from this many times that of an even guess over all tokens."""
PATIENCE = 20
"""So many bad losses in a row are a divergence; one that is not finite is at once, and so is a gradient."""


def evaluate(
    request: ProxyRequest, *, candidates: Path = CANDIDATES, checkpoints: Path | None = None
) -> ProxyResult:
    """Train from the request's seed for its steps on one thread, and score on its split.

    The result is a function of the request: equal bits in every process of one machine, whatever ran before,
    and whether the training went on from a shorter one in the folder `checkpoints` or began anew. A training
    that diverges is an answer, not an error: it gets the score of chance.

    Raises WrongUsage for an unknown task, preset or token, PrimitiveRefused for a mechanism that is not
    admitted, HarnessError where a primitive is not the one that the request names.
    """
    alphabet = _alphabet(request, candidates.resolve())
    return train(request, preset_of(request.task, request.preset), alphabet, checkpoints)


def train(
    request: ProxyRequest, preset: Preset, alphabet: Alphabet, checkpoints: Path | None = None
) -> ProxyResult:
    """`evaluate` with a preset of one's own in place of the one that the request names."""
    if request.steps < 1:
        raise ValueError(f"steps: expected one or more, got {request.steps}")
    with one_thread():
        started = time.process_time()
        training = Training.begin(request, preset, alphabet)
        result = training.run(None if checkpoints is None else Checkpoints(checkpoints))
        return replace(result, cpu_seconds=time.process_time() - started)


def build(request: ProxyRequest, preset: Preset, data: Data, alphabet: Alphabet) -> ProxyModel:
    """The untrained model: its weights are a function of the composition, the preset and the seed."""
    seed = derive(request.seed, "model") >> 1
    model = ComposedModel(
        Composition(request.tokens), alphabet, preset.shape, seed=seed, std=preset.recipe.std
    )
    decoder = None
    if data.readout == "last":
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(derive(request.seed, "decoder") >> 1)
            decoder = LastStateDecoder(preset.shape.d_model, data.length, preset.shape.norm_eps)
    return ProxyModel(model, decoder, fused=request.dtype == "float32")


@dataclass(kw_only=True)
class Training:
    """A training on its way: `begin`, then steps, or `run` to the end."""

    request: ProxyRequest
    preset: Preset
    data: Data
    model: ProxyModel
    optimizer: FlatAdamW
    progress: Progress

    @classmethod
    def begin(cls, request: ProxyRequest, preset: Preset, alphabet: Alphabet) -> Training:
        data = preset.data(f"{request.task}/{request.preset}", request.seed)
        model = build(request, preset, data, alphabet)
        optimizer = FlatAdamW(model.parameters(), preset.recipe)
        return cls(
            request=request,
            preset=preset,
            data=data,
            model=model,
            optimizer=optimizer,
            progress=Progress(),
        )

    def run(self, checkpoints: Checkpoints | None) -> ProxyResult:
        found = None if checkpoints is None else checkpoints.longest(self.request)
        if found is not None:
            self.progress = found[0]
            self.optimizer.restore(found[1], self.progress.steps)
        while self.progress.steps < self.request.steps and not self._diverged:
            self.step()
        if checkpoints is not None and not self._diverged:
            checkpoints.save(self.request, self.progress, self.optimizer.state())
        return self._result()

    def step(self) -> None:
        """One step, and a curve point where one is due."""
        done = self.progress
        loss = self._loss(self.data.train(done.steps, self.preset.batch))
        value = loss.item()
        finite = math.isfinite(value)
        if finite:
            loss.backward()
            finite = self.optimizer.step(done.steps)
        bad = PATIENCE if not finite else done.bad + 1 if value > self._limit else 0
        pending = (*done.pending, value)
        self.progress = replace(done, steps=done.steps + 1, pending=pending, bad=bad)
        if self.progress.steps % self.preset.every == 0 and not self._diverged:
            self.progress = replace(self.progress, curve=(*done.curve, self._point()), pending=())

    def _loss(self, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy where something is asked, nats, float32."""
        return F.cross_entropy(self._logits(batch), batch.targets)

    def _logits(self, batch: Batch) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.request.dtype == "bfloat16"):
            return self.model.answers(batch.ids, batch.scored).float()

    @property
    def _limit(self) -> float:
        return EXPLODED * math.log(self.preset.shape.vocab)

    @property
    def _diverged(self) -> bool:
        return self.progress.bad >= PATIENCE

    def _point(self) -> CurvePoint:
        pending = self.progress.pending
        batch = self.data.evaluation(self.request.split, self.preset.examples)
        with torch.no_grad():
            score = self.data.score(self._logits(batch), batch.targets)
        return CurvePoint(step=self.progress.steps, loss=math.fsum(pending) / len(pending), score=score)

    def _result(self) -> ProxyResult:
        curve, steps = self.progress.curve, self.progress.steps
        if self._diverged:
            finite = [loss for loss in self.progress.pending if math.isfinite(loss)]
            loss = finite[-1] if finite else curve[-1].loss if curve else self._limit
            return ProxyResult(
                score=self.data.chance, loss=loss, steps=steps, diverged=True, curve=curve, cpu_seconds=0.0
            )
        if self.progress.pending:
            curve = (*curve, self._point())
        last = curve[-1]
        return ProxyResult(
            score=last.score, loss=last.loss, steps=steps, diverged=False, curve=curve, cpu_seconds=0.0
        )


def identities_of(
    tokens: Sequence[str], task: str, preset: str, *, candidates: Path = CANDIDATES
) -> dict[str, str]:
    """What a request must name: the identity of each token and, for text, that of the corpus.

    Raises as `evaluate` does.
    """
    alphabet = _resolved(tuple(sorted(set(tokens))), candidates.resolve())
    return {**alphabet.identities(tokens), **preset_of(task, preset).proxy.identities()}


def _alphabet(request: ProxyRequest, candidates: Path) -> Alphabet:
    """The request's primitives; they and its corpus are checked to be those that its identities name."""
    found = identities_of(request.tokens, request.task, request.preset, candidates=candidates)
    for name in sorted({*found, *request.identities}):
        if found.get(name) != request.identities.get(name):
            raise HarnessError(
                f"{name}: expected the identity {request.identities.get(name)}, as the request says, got "
                f"{found.get(name)}. Its source changed since, or the request was not made for these tokens: "
                "start the search again."
            )
    return _resolved(tuple(sorted(set(request.tokens))), candidates)


@lru_cache(maxsize=256)
def _resolved(tokens: tuple[str, ...], candidates: Path) -> Alphabet:
    return resolve(tokens, candidates)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One PyTorch thread, so that sums have one order, and denormals as zero: they cost a hundred cycles."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
