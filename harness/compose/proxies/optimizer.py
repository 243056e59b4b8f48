"""AdamW over one flat buffer, with a schedule that does not know where training ends."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a preset trains. `lr` grows from 0 to its value over `warmup` steps and stays, so that a longer run
    passes through every point of a shorter one.

    `decay` is AdamW's, on matrices only; `clip` bounds the norm of all gradients together; `std` is that of
    the model's matrices at the start.
    """

    lr: float
    warmup: int = 20
    decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    std: float = 0.1

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, from 0."""
        return self.lr * min(1.0, (step + 1) / self.warmup)


class FlatAdamW:
    """AdamW (arXiv 1711.05101) on all parameters as two tensors: those with decay, then those without.

    The module's parameters become views of one buffer, so that a step is a handful of operations whatever the
    number of layers.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], recipe: Recipe) -> None:
        self.recipe = recipe
        everything = list(parameters)
        decayed = [p for p in everything if p.dim() >= 2]
        self._parameters = decayed + [p for p in everything if p.dim() < 2]
        self._border = sum(p.numel() for p in decayed)
        self.buffer = torch.cat([p.detach().reshape(-1) for p in self._parameters])
        self._gradient = torch.zeros_like(self.buffer)
        self._zeros = [torch.zeros_like(p) for p in self._parameters]
        offset = 0
        for parameter in self._parameters:
            parameter.data = self.buffer[offset : offset + parameter.numel()].view(parameter.shape)
            offset += parameter.numel()
        self._halves = [nn.Parameter(half) for half in self._split(self.buffer)]
        for half, gradient in zip(self._halves, self._split(self._gradient), strict=True):
            half.grad = gradient
        self._adamw = torch.optim.AdamW(
            [{"params": [self._halves[0]]}, {"params": [self._halves[1]], "weight_decay": 0.0}],
            lr=recipe.lr,
            betas=recipe.betas,
            weight_decay=recipe.decay,
            fused=True,
        )

    def step(self, number: int) -> bool:
        """Step `number`, from 0, with the parameters' gradients, which are taken away. False, and nothing
        changes, where these are not finite: that is divergence, and no step to be clipped.
        """
        pairs = zip(self._parameters, self._zeros, strict=True)
        gradients = [(zero if p.grad is None else p.grad).reshape(-1) for p, zero in pairs]
        torch.cat(gradients, out=self._gradient)
        for parameter in self._parameters:
            parameter.grad = None
        norm = float(torch.linalg.vector_norm(self._gradient))
        if not math.isfinite(norm):
            return False
        if norm > self.recipe.clip:
            self._gradient.mul_(self.recipe.clip / norm)
        for group in self._adamw.param_groups:
            group["lr"] = self.recipe.rate(number)
        self._adamw.step()
        return True

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that the next step depends on: parameters and both moments, flat, float32."""
        states = [self._adamw.state[half] for half in self._halves]
        return {
            "parameters": self.buffer,
            "first_moment": torch.cat([state["exp_avg"] for state in states]),
            "second_moment": torch.cat([state["exp_avg_sq"] for state in states]),
        }

    def restore(self, state: Mapping[str, torch.Tensor], steps: int) -> None:
        """Go on from `state`, taken after `steps` steps. Raises ValueError for another model's."""
        if state["parameters"].shape != self.buffer.shape:
            raise ValueError(
                f"state: expected {self.buffer.numel()} parameters, got {state['parameters'].numel()}"
            )
        self.buffer.copy_(state["parameters"])
        moments = zip(
            self._halves, self._split(state["first_moment"]), self._split(state["second_moment"]), strict=True
        )
        for half, first, second in moments:
            self._adamw.state[half] = {
                "step": torch.tensor(float(steps)),
                "exp_avg": first.clone(),
                "exp_avg_sq": second.clone(),
            }

    def _split(self, flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return flat[: self._border], flat[self._border :]
