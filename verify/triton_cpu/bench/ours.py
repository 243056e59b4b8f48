"""Record a workload and run its tape in this layer:
`python -m verify.triton_cpu.bench.ours WORKLOAD FOLDER ROUNDS`.

Prints one line of JSON: the processor seconds of every mode's rounds in float32, and by dtype the launches
after which memory differed, bit for bit, between the modes.
"""

from __future__ import annotations

import inspect
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from verify.source.static import blank_out
from verify.triton_cpu import private
from verify.triton_cpu.bench.operators import OPERATORS, record_operator
from verify.triton_cpu.bench.skeletons import record_mechanism
from verify.triton_cpu.bench.tape import (
    ArgumentValue,
    Bytes,
    Contents,
    DtypeArg,
    KernelName,
    Results,
    Tape,
    TapeLaunch,
    TensorArg,
)
from verify.triton_cpu.interpreter.launch import (
    Counters,
    PointerArg,
    WorkLimits,
    language,
    load_kernels,
    run_launch,
)
from verify.triton_cpu.memory.arena import Arena, Buffer
from verify.triton_cpu.packages import kernel_module
from verify.triton_cpu.private import JITFunction

SHAPE = {"B": 2, "T": 256, "H": 2, "K": 64, "V": 64}
TIMED = "float32"
DTYPES = (TIMED, "bfloat16", "float16")
MODES: dict[str, dict[str, Any]] = {
    "unbatched": {"batch": False},
    "plain": {},
    "sanitizer": {"conflicts": True},
}
"""By name, the options of `run_launch`. The sanitizer also starts from what was never written."""


def options(mode: str) -> dict[str, Any]:
    """The options of a mode, as far as this `run_launch` has them."""
    known = inspect.signature(run_launch).parameters
    return {name: value for name, value in MODES[mode].items() if name in known}


class _Kernels:
    """Jit functions by name; a decorated one is the function under its decorators."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, JITFunction]] = {}

    def __getitem__(self, kernel: KernelName) -> JITFunction:
        if kernel.is_file:
            if kernel.place not in self._files:
                text = Path(kernel.place).read_text(encoding="utf-8")
                self._files[kernel.place] = load_kernels(blank_out(text, keep="kernels"), kernel.place)
            return self._files[kernel.place][kernel.name]
        function: Any = kernel_module(kernel.place)
        for part in kernel.name.split("."):
            function = getattr(function, part)
        while not isinstance(function, JITFunction):
            function = function.fn
        return function


def _argument(value: ArgumentValue, buffers: list[Buffer], itemsize: Callable[[str], int]) -> Any:
    if isinstance(value, TensorArg):
        offset = value.offset * itemsize(value.dtype)
        return PointerArg(buffer=buffers[value.storage], byte_offset=offset, dtype=value.dtype)
    return value.name if isinstance(value, DtypeArg) else value


def _itemsize(dtype: str) -> int:
    import torch  # noqa: PLC0415 - only its table of sizes

    size: int = getattr(torch, dtype).itemsize
    return size


def _run(
    kernel: JITFunction, launch: TapeLaunch, contents: Contents, mode: str
) -> tuple[float, list[Buffer]]:
    """Processor seconds of one launch, and the buffers it left."""
    arena = Arena()
    checked = mode == "sanitizer"
    buffers = [
        arena.add(f"storage {index}", data.size, written=True) for index, data in enumerate(contents.data)
    ]
    arena.freeze(0)
    for buffer, data, written in zip(buffers, contents.data, contents.written, strict=True):
        buffer.bytes[:] = data
        if checked:
            buffer.written[:] = written
            buffer.complete = bool(written.all())
    arguments = {name: _argument(value, buffers, _itemsize) for name, value in launch.arguments}
    with private.default_precision("ieee"):  # as the other side has it
        start = time.process_time()
        run_launch(
            kernel,
            arguments,
            grid=launch.grid,
            arena=arena,
            counters=Counters(),
            limits=WorkLimits(),
            **options(mode),
        )
        return time.process_time() - start, buffers


def replay(tape: Tape, mode: str, results: Results | None = None) -> tuple[float, list[Sequence[Bytes]]]:
    """Processor seconds of all launches in a mode, and the storages that each one left."""
    kernels = _Kernels()
    total = 0.0
    after: list[Sequence[Bytes]] = []
    for index, (launch, contents) in enumerate(tape):
        took, left = _run(kernels[launch.kernel], launch, contents, mode)
        total += took
        after.append([buffer.bytes for buffer in left])
        if results is not None:
            results.keep(index, after[-1])
    return total, after


def differing(one: list[Sequence[Bytes]], other: list[Sequence[Bytes]]) -> list[int]:
    """Numbers of the launches that did not leave the same bits."""
    return [
        index
        for index, (left, right) in enumerate(zip(one, other, strict=True))
        if not all(bytes(a) == bytes(b) for a, b in zip(left, right, strict=True))
    ]


def record(workload: str, dtype: str, folder: Path) -> Tape:
    """The tape of a workload: an operator's name, or a mechanism's file. Raises what the recording does."""
    folder.mkdir(parents=True)
    if workload in OPERATORS:
        record_operator(workload, SHAPE, dtype, folder)
    else:
        record_mechanism(Path(workload).resolve(), SHAPE, dtype, folder)
    return Tape(folder)


def measure(workload: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Everything about one workload; its float32 tape and results stay in `folder` for the other side."""
    seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    different: dict[str, dict[str, list[int]]] = {}
    work: dict[str, int] = {}
    language()
    for dtype in DTYPES:
        tape = record(workload, dtype, folder / dtype)
        kept = Results(folder / "ours") if dtype == TIMED else None
        plain = replay(tape, "plain", kept)[1]  # also makes what every later round finds made
        after = {mode: replay(tape, mode)[1] for mode in MODES if mode != "plain"}
        different[dtype] = {mode: differing(plain, left) for mode, left in after.items()}
        if dtype != TIMED:
            continue
        work = {
            "launches": len(tape.launches),
            "programs": sum(math.prod(launch.grid) for launch in tape.launches),
        }
        for _ in range(rounds):
            for mode in MODES:  # in turn, so that a drift of the machine meets all of them
                seconds[mode].append(replay(tape, mode)[0])
    return {"seconds": seconds, "different": different, **work}


def main(workload: str, folder: str, rounds: str) -> int:
    """Measure and print; returns the exit code."""
    try:
        answer = measure(workload, Path(folder), int(rounds))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is why this row has no number
        answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
