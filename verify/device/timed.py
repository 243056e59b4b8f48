"""What is timed, in the worker that drives the device: kernels from a plan, or definitions with autograd.

Inputs are drawn on the device, several sets before any timing, and runs take them in turn. All runs of a form
share one scratch memory, results included, which is poisoned before every batch: a run that does not do its
work leaves poison or another set's results, and the judge looks, at a moment that it draws afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch

from verify.device.clock import read
from verify.device.hardware import device_for, faults
from verify.device.runner import bind, tensor_at
from verify.plan.format import Plan, TensorRef
from verify.seeds import derive

ALIGNMENT = 512
POISON = 0xFF
INDEX_BOUND = 16
Sets = Sequence[Mapping[str, torch.Tensor]]


class Form(Protocol):
    """One way to compute forward and backward."""

    def run(self, number: int) -> None:
        """On the input set `number`; asynchronous on a device."""

    def poison(self) -> None:
        """Forget every result."""

    def results(self) -> Mapping[str, torch.Tensor]:
        """Of the last run, by the names of `Plan.results`."""


FormMaker = Callable[[Mapping[str, Any], Sets], Form]


def draw(entry: Mapping[str, Any], seed: int, device: str) -> torch.Tensor:
    """A dense tensor of a domain: the distributions of `verify.judge.inputs`, by torch's generator.

    `entry` has name, domain, shape and dtype.
    """
    generator = torch.Generator(device).manual_seed(seed)
    shape, domain = tuple(entry["shape"]), entry["domain"]
    dtype = getattr(torch, entry["dtype"])
    if domain in ("normal", "unit_norm"):
        values = torch.randn(shape, generator=generator, device=device)
        if domain == "unit_norm":
            values /= values.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        return values.to(dtype)
    uniform = torch.rand(shape, generator=generator, device=device)
    match domain:
        case "log_decay":
            values = -(uniform**4)
        case "unit_interval":
            values = uniform
        case "positive":
            values = 0.0625 + 4.0 * uniform * uniform
        case "angle":
            values = (uniform - 0.5) * (2.0 * math.pi)
        case "index":
            values = torch.floor(uniform * INDEX_BOUND)
        case _:
            raise ValueError(f"domain {domain}: expected one of the contract's domains")
    return values.to(dtype)


def draw_set(
    entries: Sequence[Mapping[str, Any]], seed: int, number: int, device: str
) -> dict[str, torch.Tensor]:
    """Every tensor of input set `number`, the same in every process that drives the same device."""
    return {
        entry["name"]: draw(entry, derive(seed, "timed", number, entry["name"]), device) for entry in entries
    }


class KernelForm:
    """The launches of a plan, bound to their tensors beforehand: timing is of launches and nothing else."""

    def __init__(
        self, plan: Plan, names: Sequence[Sequence[str]], kernels: Mapping[str, Any], sets: Sets
    ) -> None:
        """`names` are those of the states, and of the tensors that gradients are of."""
        starts, end = {}, 0
        for index, decl in enumerate(plan.buffers):
            if decl.argument is None:
                starts[index] = end
                end += -(-decl.nbytes // ALIGNMENT) * ALIGNMENT
        device = next(iter(sets[0].values())).device
        self._scratch = torch.empty(end, dtype=torch.uint8, device=device)

        def view(inputs: Mapping[str, torch.Tensor], ref: TensorRef) -> torch.Tensor:
            argument = plan.buffers[ref.buffer].argument
            whole = self._scratch[starts[ref.buffer] :] if argument is None else inputs[argument]
            return tensor_at(whole, ref)

        self._calls = [
            [
                bind(step, kernels, lambda ref, chosen=inputs: view(chosen, ref))  # type: ignore[misc]
                for step in (*plan.forward, *plan.backward)
            ]
            for inputs in sets
        ]
        self._results = {name: view({}, ref) for name, ref in plan.results(names[0], names[1])}

    def run(self, number: int) -> None:
        with torch.no_grad():
            for call in self._calls[number]:
                call()

    def poison(self) -> None:
        self._scratch.fill_(POISON)

    def results(self) -> Mapping[str, torch.Tensor]:
        return self._results


class DefinitionForm:
    """A PyTorch function of the tensors, differentiated by autograd, in float32 as the binding runs it.

    `function(*tensors)` takes inputs, params and states and returns output and states; results are rounded
    to the dtypes of `cotangents`.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[torch.Tensor]],
        entries: Sequence[tuple[str, bool]],
        cotangents: Sequence[str],
        names: Sequence[str],
        sets: Sets,
    ) -> None:
        """`entries` are (name, differentiable) of the arguments; `names` those of output and states."""
        self._function, self._entries, self._sets = function, entries, sets
        self._cotangents, self._names = cotangents, names
        self._results: dict[str, torch.Tensor] = {}

    def run(self, number: int) -> None:
        inputs = self._sets[number]
        leaves = [inputs[name].detach().requires_grad_(wanted) for name, wanted in self._entries]
        d_results = [inputs[name] for name in self._cotangents]
        with torch.enable_grad():
            results = [
                result.to(cotangent.dtype)
                for result, cotangent in zip(self._function(*leaves), d_results, strict=True)
            ]
            pairs = [
                (result, cotangent)
                for result, cotangent in zip(results, d_results, strict=True)
                if result.requires_grad
            ]
            asked = [leaf for leaf in leaves if leaf.requires_grad]
            found = torch.autograd.grad(
                [result for result, _ in pairs],
                asked,
                [cotangent for _, cotangent in pairs],
                allow_unused=True,
            )
        gradients = [
            torch.zeros_like(leaf) if gradient is None else gradient
            for leaf, gradient in zip(asked, found, strict=True)
        ]
        differentiated = [f"d_{name}" for name, is_wanted in self._entries if is_wanted]
        named = zip((*self._names, *differentiated), (*results, *gradients), strict=True)
        self._results = {name: tensor.detach() for name, tensor in named}

    def poison(self) -> None:
        self._results = {}

    def results(self) -> Mapping[str, torch.Tensor]:
        return self._results


class TimedHandler:
    """Answers the judge's questions about forms on one device: `prepare`, `warm`, `measure`, `sample`."""

    def __init__(self, device: str, makers: Mapping[str, FormMaker]) -> None:
        self._device, self._makers = device, makers
        self._clock: Any = None
        self._header: Mapping[str, Any] = {}
        self._sets: list[dict[str, torch.Tensor]] = []
        self._forms: dict[str, Form] = {}

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Headers: see the methods below. Raises Refusal where the device or its compiler says no."""
        answers: dict[str, Callable[[Mapping[str, Any]], tuple[dict[str, Any], list[bytes]]]] = {
            "prepare": self._prepare,
            "warm": self._warm,
            "measure": self._measure,
            "sample": self._sample,
        }
        if method not in answers or blobs:
            raise ValueError(f"expected one of the methods {sorted(answers)} without blobs, got {method}")
        with faults():
            return answers[method](header)

    def _prepare(self, header: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """{"tensors", "sets", "seed", "forms", ...}: draw the input sets and make the forms."""
        self._forms, self._sets = {}, []
        if self._clock is None:
            self._clock = device_for(self._device)
        if self._device != "cpu":
            torch.cuda.empty_cache()
        self._header = header
        self._sets = [
            draw_set(header["tensors"], header["seed"], number, self._device)
            for number in range(header["sets"])
        ]
        self._forms = {name: self._makers[name](header, self._sets) for name in header["forms"]}
        return {}, []

    def _warm(self, header: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """{"form"} -> {"seconds"} of one run, roughly, once everything is compiled."""
        form = self._forms[header["form"]]
        for number in range(len(self._sets)):
            form.run(number)
        self._clock.synchronize()
        began = self._clock.now()
        for number in range(len(self._sets)):
            form.run(number)
        self._clock.synchronize()
        return {"seconds": (self._clock.now() - began) / len(self._sets)}, []

    def _measure(self, header: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """{"form", "few", "many", "first"} -> {"host", "device" (seconds), "last" (the last set used)}."""
        form, number = self._forms[header["form"]], header["first"] - 1

        def run() -> None:
            nonlocal number
            number = (number + 1) % len(self._sets)
            form.run(number)

        form.poison()
        self._clock.synchronize()
        reading = read(self._clock, run, few=header["few"], many=header["many"])
        return {"host": reading.host, "device": reading.device, "last": number}, []

    def _sample(self, header: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """{"form", "set", "slices"}: parts of that input set, drawn again, and of the last run's results.

        `slices` is [["input" or "result", name, [[dimension, start, length], ...]], ...]. The answer's
        `changed` names inputs whose memory is no longer what was drawn, `shapes` those of the blobs.
        """
        drawn = draw_set(self._header["tensors"], self._header["seed"], header["set"], self._device)
        held = self._sets[header["set"]]
        changed = [name for name, tensor in drawn.items() if not _same_bits(tensor, held[name])]
        tensors = {"input": drawn, "result": self._forms[header["form"]].results()}
        parts = []
        for kind, name, cuts in header["slices"]:
            part = tensors[kind][name]
            for dimension, start, length in cuts:
                part = part.narrow(dimension, start, length)
            parts.append(part.contiguous())
        answer = {"changed": changed, "shapes": [list(part.shape) for part in parts]}
        return answer, [part.view(-1).view(torch.uint8).cpu().numpy().tobytes() for part in parts]


def _same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    return bool(torch.equal(left.view(-1).view(torch.uint8), right.view(-1).view(torch.uint8)))
