"""Role `baseline`: time a mechanism's own definition on a CUDA device, eagerly or through torch.compile.

Here candidate Python runs, restricted as in role `oracle`, in a process of its own: nothing it does reaches
the process that times the kernels. Its times are its own claim, and are only ever shown beside the kernels'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from verify.device.timed import DefinitionForm, FormMaker, Sets, TimedHandler
from verify.oracle import definitions
from verify.roles.device import DEVICE


def makers(source: bytes) -> dict[str, FormMaker]:
    """`eager` and `compiled` forms of the definition that the header names."""
    namespace = definitions(source.decode()) if source else {}

    def form(header: Mapping[str, Any], sets: Sets, prepare: Callable[[Any], Any]) -> DefinitionForm:
        inputs, constants = header["inputs"], header["constants"]
        definition = namespace[header["function"]]

        def function(*tensors: torch.Tensor) -> Sequence[torch.Tensor]:
            wide = [tensor.float() if tensor.is_floating_point() else tensor for tensor in tensors]
            output, state = definition(*wide[:inputs], state=tuple(wide[inputs:]), **constants)
            return (output, *state)

        entries = [(name, wanted) for name, wanted in header["entries"]]
        cotangents = ["d_output", *(f"d_{name}" for name in header["state"])]
        return DefinitionForm(prepare(function), entries, cotangents, ["output", *header["state"]], sets)

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        # TorchDynamo looks globals up in the module of that name, which there is not.
        namespace.pop("__name__", None)
        from torch._inductor import config  # noqa: PLC0415  takes three seconds to load

        config.compile_threads = 1  # no pool of processes beside a confined one
        found: Callable[..., Any] = torch.compile(function, fullgraph=True, dynamic=False)
        return found

    return {
        "eager": lambda header, sets: form(header, sets, lambda function: function),
        "compiled": lambda header, sets: form(header, sets, compiled),
    }


def open(source: bytes) -> TimedHandler:
    return TimedHandler(DEVICE, makers(source))
