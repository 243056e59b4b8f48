"""Which known answers does the interpreter that Triton ships get wrong?

`python -m verify.triton_cpu.bench.faults` says it under the Triton that is installed.

Every launch of the self-test is put on tape and run there. A check is `same` where all of its launches leave
the same bytes (a NaN equals any NaN), `differs` where one does not, `refuses` where one cannot run. Checks of
what only this layer has (memory events, limits on work) are not asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from verify.triton_cpu import private
from verify.triton_cpu.bench.tape import (
    ArgumentValue,
    Bytes,
    KernelName,
    Results,
    Tape,
    TapeLaunch,
    TapeWriter,
    TensorArg,
)
from verify.triton_cpu.interpreter.handles import FORMATS, TYPES
from verify.triton_cpu.interpreter.launch import KernelError, PointerArg, load_kernels, run_launch
from verify.triton_cpu.private import JITFunction
from verify.triton_cpu.selftest import known_answer
from verify.triton_cpu.selftest.kernels import SOURCE
from verify.triton_cpu.selftest.runner import CHECKS

OURS_ALONE = {"memory events", "work limits", "restored", "programs together", "float8 arithmetic"}
_HEADER = "import triton\nimport triton.language as tl\n"
_TORCH_NAMES = {"float8e4nv": "float8_e4m3fn", "float8e5": "float8_e5m2"}


class _Taping:
    """Stands in for `run_launch`: writes the launch down, runs it, and keeps what it left."""

    def __init__(self, file: Path, folder: Path) -> None:
        self._file = file
        self.writer, self.results = TapeWriter(folder / "tape"), Results(folder / "ours")
        self.count = 0

    def __call__(
        self, kernel: JITFunction, arguments: Mapping[str, Any], *, arena: Any, **options: Any
    ) -> None:
        buffers = [value.buffer for value in arguments.values() if isinstance(value, PointerArg)]
        launch = TapeLaunch(
            kernel=KernelName(
                place=str(self._file), name=private.captured_source(kernel).__name__, is_file=True
            ),
            grid=options["grid"],
            arguments=tuple((name, _argument(value, buffers)) for name, value in arguments.items()),
            storages=len(buffers),
        )
        self.writer.add(launch, [one.bytes for one in buffers], [one.written for one in buffers])
        self.count += 1
        run_launch(kernel, arguments, arena=arena, **options)
        self.results.keep(self.count - 1, [one.bytes for one in buffers])


def _argument(value: Any, buffers: list[Any]) -> ArgumentValue:
    if not isinstance(value, PointerArg):
        plain: ArgumentValue = value
        return plain
    size = value.buffer.nbytes // FORMATS[TYPES[value.dtype].name].raw.itemsize
    return TensorArg(
        storage=buffers.index(value.buffer),
        dtype=_TORCH_NAMES.get(value.dtype, value.dtype),
        shape=(size,),
        strides=(1,),
        offset=0,
    )


def same_values(mine: Bytes, theirs: Bytes, dtype: str) -> bool:
    """Whether two storages hold the same elements of `dtype` (torch's name); a NaN equals any NaN."""
    if mine.tobytes() == theirs.tobytes():
        return True
    raw = FORMATS[TYPES[dtype].name].raw
    left, right = (known_answer.values_of(side.view(raw), dtype) for side in (mine, theirs))
    return bool(np.array_equal(left, right, equal_nan=left.dtype.kind == "f"))


def compare() -> dict[str, str]:
    """By check: "same", "differs" or "refuses: why". Raises RuntimeError where the other process fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tape").mkdir()
        file = folder / "selftest_kernels.py"
        file.write_text(_HEADER + SOURCE, encoding="utf-8")
        kernels = load_kernels(SOURCE, "aira_fault_kernels.py")
        taping, ranges = _Taping(file, folder), {}
        with mock.patch.object(known_answer, "run_launch", taping):
            for check in CHECKS.keys() - OURS_ALONE:
                before = taping.count
                with suppress(KernelError):
                    CHECKS[check](kernels)
                ranges[check] = range(before, taping.count)
        taping.writer.close()
        errors = _stock(folder)
        tape, theirs = Tape(folder / "tape"), Results(folder / "stock")
        return {
            check: _verdict(tape, taping.results, theirs, errors, numbers)
            for check, numbers in sorted(ranges.items())
        }


def _stock(folder: Path) -> list[str | None]:
    places = [str(folder / name) for name in ("tape", "stock")]
    command = [sys.executable, "-m", "verify.triton_cpu.bench.stock", *places, "each"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode != 0:
        raise RuntimeError(f"expected the other interpreter to answer, got: {done.stderr.strip()[-300:]}")
    errors: list[str | None] = json.loads(done.stdout.strip().splitlines()[-1])["errors"]
    return errors


def _verdict(tape: Tape, ours: Results, theirs: Results, errors: list[str | None], numbers: range) -> str:
    for number in numbers:
        if errors[number] is not None:
            return f"refuses: {errors[number]}"
        mine, other = ours.load(number), theirs.load(number)
        for _, value in tape.launches[number].arguments:
            if isinstance(value, TensorArg) and not same_values(
                mine[value.storage], other[value.storage], value.dtype
            ):
                return "differs"
    return "same"


def main() -> int:
    """Print the table; returns the exit code."""
    found = compare()
    print(
        f"Triton {'.'.join(map(str, private.VERSION))}: what its own interpreter makes of the known answers"
    )
    for check, verdict in found.items():
        print(f"  {check:24} {verdict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
