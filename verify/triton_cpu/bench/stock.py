"""Run a tape under the interpreter that Triton ships: `python -m verify.triton_cpu.bench.stock TAPE RESULTS`.

A program of its own, because TRITON_INTERPRET must be set before Triton is imported and changes what
`triton.jit` returns. Prints one line of JSON: the processor seconds of every round, or the error. Where a
kernel calls methods of a loop variable, which is a Python number there, it runs again with loop variables
that are tensors, and the answer says so: `patched`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from verify.triton_cpu.bench.tape import (
    ArgumentValue,
    Contents,
    DtypeArg,
    KernelName,
    Results,
    Tape,
    TapeLaunch,
    TensorArg,
)
from verify.triton_cpu.packages import kernel_module


class _Kernels:
    """Interpreted functions by name; a decorated one is the function under its decorators."""

    def __init__(self, *, tensor_loops: bool) -> None:
        self._modules: dict[str, Any] = {}
        self._tensor_loops = tensor_loops

    def __getitem__(self, kernel: KernelName) -> Any:
        module = self._modules.get(kernel.place)
        if module is None:
            module = self._modules[kernel.place] = _load(kernel)
        function = module
        for part in kernel.name.split("."):
            function = getattr(function, part)
        while type(function).__name__ != "InterpretedFunction":  # autotune and heuristics wrap it
            function = function.fn
        if self._tensor_loops:
            function.fn.__globals__["range"] = _tensor_range
        return function


def _load(kernel: KernelName) -> Any:
    if not kernel.is_file:
        return kernel_module(kernel.place)
    spec = importlib.util.spec_from_file_location(f"taped_{Path(kernel.place).stem}", kernel.place)
    if spec is None or spec.loader is None:
        raise ImportError(f"expected a Python file with kernels, got {kernel.place}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _tensor_range(*bounds: Any) -> Iterator[Any]:
    """What `range` is in a compiled kernel: its variable is an int32 tensor."""
    from triton.runtime import interpreter  # noqa: PLC0415 - after TRITON_INTERPRET is checked

    for index in range(*(int(bound) for bound in bounds)):
        yield interpreter.interpreter_semantic.to_tensor(index, False)


def _argument(value: ArgumentValue, storages: list[Any]) -> Any:
    import torch  # noqa: PLC0415 - after TRITON_INTERPRET is checked
    import triton.language as tl  # noqa: PLC0415 - the same

    if isinstance(value, TensorArg):
        tensor = torch.empty(0, dtype=getattr(torch, value.dtype))
        return tensor.set_(
            storages[value.storage].untyped_storage(), value.offset, value.shape, value.strides
        )
    if isinstance(value, DtypeArg):
        return getattr(tl, "int1" if value.name == "bool" else value.name)
    return value


def _run(kernel: Any, launch: TapeLaunch, contents: Contents) -> tuple[float, list[Any]]:
    """Processor seconds of one launch, and the storages it left."""
    import torch  # noqa: PLC0415 - after TRITON_INTERPRET is checked

    storages = []
    for data in contents.data:
        storage = torch.empty(data.size, dtype=torch.uint8)
        storage.numpy()[:] = data
        storages.append(storage)
    arguments = {name: _argument(value, storages) for name, value in launch.arguments}
    start = time.process_time()
    kernel[launch.grid](**arguments)
    return time.process_time() - start, [storage.numpy() for storage in storages]


def replay(tape: Tape, results: Results, rounds: int, *, tensor_loops: bool = False) -> list[float]:
    """Processor seconds of each of `rounds` rounds; the first one's results are kept."""
    kernels = _Kernels(tensor_loops=tensor_loops)
    seconds = []
    for number in range(rounds):
        total = 0.0
        for index, (launch, contents) in enumerate(tape):
            took, left = _run(kernels[launch.kernel], launch, contents)
            total += took
            if number == 0:
                results.keep(index, left)
        seconds.append(total)
    return seconds


def replay_each(tape: Tape, results: Results) -> list[str | None]:
    """What each launch could not do, None where it ran; its results are kept where it did."""
    kernels = _Kernels(tensor_loops=False)
    errors: list[str | None] = []
    for index, (launch, contents) in enumerate(tape):
        try:
            results.keep(index, _run(kernels[launch.kernel], launch, contents)[1])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            errors.append(f"{error.__cause__ or error}".splitlines()[0])
        else:
            errors.append(None)
    return errors


def main(folder: str, kept: str, rounds: str) -> int:
    """Run and print; returns the exit code."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        print("expected TRITON_INTERPRET=1: Triton's own interpreter is what runs here", file=sys.stderr)
        return 2
    if rounds == "each":
        print(json.dumps({"errors": replay_each(Tape(Path(folder)), Results(Path(kept)))}))
        return 0
    answer: dict[str, Any] = {}
    for tensor_loops in (False, True):
        try:
            tape, results = Tape(Path(folder)), Results(Path(kept))
            seconds = replay(tape, results, int(rounds), tensor_loops=tensor_loops)
            answer = {"seconds": seconds, "patched": tensor_loops}
            break
        except Exception as error:  # noqa: BLE001 - whatever it is, it is why this row has no number
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
            if "'int' object has no attribute" not in str(error).replace("\\", ""):
                break
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
