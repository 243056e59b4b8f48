"""Role `oracle`: evaluate `reference` or `parallel` on inputs, with gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verify.oracle import Evaluation, Oracle, from_blobs


class Handler:
    """Evaluates one mechanism's definitions."""

    def __init__(self, source: str) -> None:
        self._oracle = Oracle(source)

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """`evaluate`: tensors (and cotangents) of one or more variants, back to back -> results of each, back
        to back.

        Header: function, inputs, constants, shapes, dtypes, differentiable, cotangents (their number, 0 =
        forward only), variants.
        """
        if method != "evaluate":
            raise ValueError(f"role oracle: expected the method evaluate, got {method}")
        shapes, dtypes, cotangents = header["shapes"], header["dtypes"], header["cotangents"]
        tensors = len(shapes) - cotangents
        answers: list[bytes] = []
        results: list[Any] = []
        for variant in range(header["variants"]):
            part = blobs[variant * len(shapes) : (variant + 1) * len(shapes)]
            values = from_blobs(part, shapes, dtypes)
            results = self._oracle.evaluate(
                Evaluation(
                    function=header["function"],
                    inputs=header["inputs"],
                    constants=header["constants"],
                    tensors=values[:tensors],
                    differentiable=header["differentiable"],
                    cotangents=values[tensors:] if cotangents else None,
                )
            )
            answers += [result.numpy().tobytes() for result in results]
        return {"shapes": [list(result.shape) for result in results]}, answers


def open(source: bytes) -> Handler:
    return Handler(source.decode())
