from __future__ import annotations

import pytest
import torch

from harness.compose.tensor_files import digest

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(0.0)}


def test_the_digest_does_not_hang_on_order_or_layout() -> None:
    again = {"b": TENSORS["b"], "a": TENSORS["a"].T.contiguous().T}
    assert digest("s", again) == digest("s", TENSORS)


@pytest.mark.parametrize(
    "other",
    [
        {"a": TENSORS["a"], "c": TENSORS["b"]},
        {"a": TENSORS["a"].reshape(3, 2), "b": TENSORS["b"]},
        {"a": TENSORS["a"].view(torch.int32), "b": TENSORS["b"]},
        {"a": TENSORS["a"], "b": torch.tensor(-0.0)},
        {"a": TENSORS["a"]},
    ],
)
def test_another_name_size_type_or_bit_is_another_digest(other: dict[str, torch.Tensor]) -> None:
    assert digest("s", other) != digest("s", TENSORS)


def test_another_state_is_another_digest() -> None:
    assert digest("t", TENSORS) != digest("s", TENSORS)
