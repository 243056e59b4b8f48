"""How many operations PyTorch code performs: counted while it runs on tensors without data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_MOVES = {"_to_copy", "clone", "copy_", "fill_", "zero_"}
_REDUCTIONS = {
    *("sum", "mean", "prod", "amax", "amin", "max", "min", "argmax", "var", "std", "any", "all"),
    *("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "logsumexp", "linalg_vector_norm", "norm"),
    *("_softmax", "_log_softmax"),
}


class WorkCounter(TorchDispatchMode):
    """Adds up `operations` while active: matrix products and attention by their FLOPs (a multiply and an add
    are two), one for every element that an elementwise operator writes or a reduction reads. Moving data is
    free.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += _cost(func, args, kwargs or {}, result)
        return result


def count_work(function: Callable[..., object], *tensors: torch.Tensor) -> int:
    """Operations of one call, forward only."""
    with torch.no_grad(), WorkCounter() as counter:
        function(*tensors)
    return counter.operations


def _cost(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> int:
    packet, name = func.overloadpacket, func.overloadpacket.__name__
    cost: int = 0
    if packet in flop_registry:
        cost = flop_registry[packet](*args, **kwargs, out_val=result)
    elif name in _REDUCTIONS:
        cost = args[0].numel()
    elif torch.Tag.pointwise in func.tags and name not in _MOVES:
        cost = result.numel()
    return cost
