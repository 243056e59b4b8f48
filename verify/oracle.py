"""Evaluate a mechanism's own definition: `reference` or `parallel`, eagerly, with gradients by autograd.

Runs the candidate's Python, so only inside a confined worker, which holds nothing but inputs. What no
definition may do with a tensor is refused (`verify.torch_guard`), and `reference` may not change dtypes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from verify.candidate_python import (
    candidate_builtins,
    candidate_math,
    compile_candidate,
    counted_steps,
    first_line,
    line_of,
)
from verify.sandbox.wire import Refusal
from verify.source.static import blank_out
from verify.source.vocabulary import ORACLE_FUNCTIONAL, ORACLE_TORCH
from verify.torch_guard import guarded


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One call: `tensors` are inputs and params then states, `cotangents` the output's and the states'."""

    function: str
    inputs: int
    constants: Mapping[str, int | float]
    tensors: Sequence[torch.Tensor]
    differentiable: Sequence[bool]
    cotangents: Sequence[torch.Tensor] | None


def definitions(source: str) -> dict[str, Any]:
    """The namespace of `reference`, `parallel` and what they reach, executed with only what they may name.

    `source` must have passed the static policy; the functions run in this process.
    """
    functional = SimpleNamespace(**_exported(torch.nn.functional, ORACLE_FUNCTIONAL))
    namespace: dict[str, Any] = {
        "__builtins__": candidate_builtins(),
        "__name__": "mechanism",
        "math": candidate_math(),
        "torch": SimpleNamespace(**_exported(torch, ORACLE_TORCH), nn=SimpleNamespace(functional=functional)),
    }
    exec(compile_candidate(blank_out(source, keep="oracle")), namespace)
    return namespace


class Oracle:
    """The reference and parallel forms of one mechanism, in a namespace that holds only what they may
    name.
    """

    def __init__(self, source: str) -> None:
        self._namespace = definitions(source)

    def evaluate(self, call: Evaluation) -> list[torch.Tensor]:
        """Output, states, and with cotangents one gradient per differentiable tensor, all in the tensors'
        dtype.

        A tensor without influence has a gradient of zeros. Raises `Refusal` when the function fails, returns
        the wrong structure, or does what a definition must not.
        """
        leaves = [
            tensor.detach().requires_grad_(call.cotangents is not None and wanted)
            for tensor, wanted in zip(call.tensors, call.differentiable, strict=True)
        ]
        with torch.set_grad_enabled(call.cotangents is not None):
            output, state = self._call(call, leaves)
        results = [output, *state]
        if call.cotangents is not None:
            results += _gradients(results, call.cotangents, [leaf for leaf in leaves if leaf.requires_grad])
        return [result.detach().contiguous() for result in results]

    def _call(
        self, call: Evaluation, leaves: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        arguments, state = leaves[: call.inputs], tuple(leaves[call.inputs :])

        def run() -> Any:
            before = [leaf._version for leaf in leaves]
            try:
                with counted_steps("CON-WORK-LIMIT", bytecodes=False):
                    return self._namespace[call.function](*arguments, state=state, **call.constants)
            finally:
                if [leaf._version for leaf in leaves] != before:
                    raise Refusal(
                        "CON-REFERENCE",
                        f"{call.function} writes into its arguments; expected them to stay as they are",
                        None,
                    )

        try:
            result = guarded(run, casts=call.function != "reference")
        except Refusal:
            raise
        except Exception as error:
            raise Refusal(
                "CON-REFERENCE",
                f"{call.function} raised {type(error).__name__}: {first_line(error)}; expected it to "
                "return for every shape of the contract",
                line_of(error.__traceback__),
            ) from None
        return _checked(call, result, leaves)


def _exported(module: Any, names: Sequence[str] | frozenset[str]) -> dict[str, Any]:
    return {name: getattr(module, name) for name in sorted(names) if hasattr(module, name)}


def _checked(call: Evaluation, result: Any, leaves: Sequence[torch.Tensor]) -> tuple[Any, tuple[Any, ...]]:
    states = len(leaves) - call.inputs
    if not (
        isinstance(result, tuple)
        and len(result) == 2
        and isinstance(result[0], torch.Tensor)
        and isinstance(result[1], tuple)
        and len(result[1]) == states
        and all(isinstance(tensor, torch.Tensor) for tensor in result[1])
    ):
        raise Refusal(
            "CON-REFERENCE",
            f"{call.function}: expected (output, tuple of {states} states), got {type(result).__name__}",
            None,
        )
    expected = next(leaf.dtype for leaf in leaves if leaf.is_floating_point())
    for tensor in (result[0], *result[1]):
        if type(tensor) is not torch.Tensor or tensor.dtype != expected:
            raise Refusal(
                "CON-REFERENCE",
                f"{call.function}: expected plain tensors of dtype {expected}, got "
                f"{type(tensor).__name__} of {tensor.dtype}",
                None,
            )
    return result


def _gradients(
    results: Sequence[torch.Tensor], cotangents: Sequence[torch.Tensor], leaves: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    pairs = [
        (result, cotangent)
        for result, cotangent in zip(results, cotangents, strict=True)
        if result.requires_grad
    ]
    for result, cotangent in pairs:
        if result.shape != cotangent.shape:
            raise Refusal(
                "CON-REFERENCE",
                f"expected a result of shape {tuple(cotangent.shape)}, got {tuple(result.shape)}",
                None,
            )
    if not pairs:
        return [torch.zeros_like(leaf) for leaf in leaves]
    found = torch.autograd.grad(
        [result for result, _ in pairs], leaves, [cotangent for _, cotangent in pairs], allow_unused=True
    )
    return [
        torch.zeros_like(leaf) if gradient is None else gradient
        for leaf, gradient in zip(leaves, found, strict=True)
    ]


def from_blobs(
    blobs: Sequence[bytes | memoryview], shapes: Sequence[Sequence[int]], dtypes: Sequence[str]
) -> list[torch.Tensor]:
    """Raw contiguous storage as torch tensors of the given shapes and NumPy dtypes."""
    return [
        torch.from_numpy(np.frombuffer(blob, dtype=dtype).reshape(tuple(shape)).copy())
        for blob, shape, dtype in zip(blobs, shapes, dtypes, strict=True)
    ]
