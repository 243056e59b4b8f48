"""Load kernels from source text and run their grids on an arena."""

from __future__ import annotations

import ast
import builtins
import functools
import linecache
import math
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import FrameType
from typing import Any, Literal

import numpy as np
import triton

from verify.triton_cpu import private
from verify.triton_cpu.interpreter.arithmetic import Work
from verify.triton_cpu.interpreter.group import NotTogether
from verify.triton_cpu.interpreter.handles import TYPES, Handle
from verify.triton_cpu.interpreter.language import Language, WorkLimitExceeded
from verify.triton_cpu.interpreter.rewrite import UnsupportedSyntax
from verify.triton_cpu.memory.accesses import KEPT_FOR_A_PROGRAM, LARGEST_KEPT, Memory, Repeat
from verify.triton_cpu.memory.buffers import Buffer
from verify.triton_cpu.memory.events import Location
from verify.triton_cpu.private import JITFunction, core, tl

__all__ = [
    "Argument",
    "Counters",
    "KernelError",
    "PointerArg",
    "Prepared",
    "WorkLimitExceeded",
    "WorkLimits",
    "load_kernels",
    "run_launch",
]


@dataclass(frozen=True, kw_only=True)
class PointerArg:
    """A tensor argument: `byte_offset` bytes into `buffer`, elements of `dtype` ("float32", "bfloat16",
    ...).
    """

    buffer: Buffer
    byte_offset: int = 0
    dtype: str

    @property
    def address(self) -> int:
        return self.buffer.base + self.byte_offset


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An argument that says by itself what the kernel receives.

    `make` is called once for each launch, while the language is active. `key` tells arguments apart under
    which a kernel may take other ways; `buffers` are those that it points into.
    """

    make: Callable[[], Any]
    key: Hashable = None
    buffers: tuple[Buffer, ...] = ()


Argument = PointerArg | Prepared | int | float | bool | str | None
Order = Literal["forward", "reverse"] | tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class WorkLimits:
    """How much one execution may do, counted over all launches that share a `Counters`."""

    launches: int = 4096
    programs: int = 1 << 20
    loop_steps: int = 1 << 22
    wait_steps: int = 1 << 16
    """Of one program in `while` loops: it may be waiting for a program that runs after it."""


@dataclass(kw_only=True)
class KernelCounters:
    """What one kernel did, summed over its launches; bytes and flops are counts, not rates."""

    launches: int = 0
    programs: int = 0
    loop_steps: int = 0
    loads: int = 0
    stores: int = 0
    bytes_loaded: int = 0
    bytes_stored: int = 0
    dot_flops: int = 0
    dot_types: dict[str, int] = field(default_factory=dict)
    elementwise_flops: int = 0
    transcendental: int = 0
    float_atomics: dict[int, int] = field(default_factory=dict)
    """Line in the mechanism's file -> how often a float atomic there was executed."""


@dataclass(kw_only=True)
class Counters(KernelCounters):
    """Totals over all launches, and the same per kernel."""

    kernels: dict[str, KernelCounters] = field(default_factory=dict)


class KernelError(Exception):
    """A kernel that cannot run: what Triton or this layer said, with the kernel's name and line."""

    def __init__(self, message: str, *, kernel: str, line: int) -> None:
        super().__init__(f"{kernel}, line {line}: {message}")
        self.message = message
        self.kernel = kernel
        self.line = line


_SAFE_BUILTINS = (
    "range",
    "len",
    "min",
    "max",
    "int",
    "float",
    "bool",
    "abs",
    "isinstance",
    "tuple",
    "list",
    "print",
    "True",
    "False",
    "None",
    "ValueError",
    "AssertionError",
)
_LANGUAGE: list[Language] = []


def language() -> Language:
    """The process's language layer, built on first use (0.06 s): a warm server calls this before it forks."""
    if not _LANGUAGE:
        _LANGUAGE.append(Language())
        _LANGUAGE[0].prepare_library()
    return _LANGUAGE[0]


def load_kernels(source: str, name: str) -> dict[str, JITFunction]:
    """Execute kernel source in a namespace of `triton`, `tl` and `math` alone; returns its jit functions by
    name.

    `name` is the file that events and errors speak of; it is registered with `linecache`, so `inspect` finds
    the source. The text holds `@triton.jit` functions (and blank lines where anything else stood).
    """
    lines = source.splitlines(keepends=True)
    linecache.cache[name] = (len(source), None, lines, name)
    allowed = {key: getattr(builtins, key) for key in _SAFE_BUILTINS if hasattr(builtins, key)}
    allowed["__import__"] = _import
    namespace: dict[str, Any] = {
        "__builtins__": allowed,
        "__name__": "mechanism",
        "triton": triton,
        "tl": tl,
        "math": math,
    }
    exec(compile(source, name, "exec"), namespace)
    defined = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    kernels = {  # only what is defined here: `largest = tl.max` gives one of Triton's another name
        key: value for key, value in namespace.items() if isinstance(value, JITFunction) and key in defined
    }
    for key, kernel in kernels.items():
        _check_captured(key, kernel, defined[key])
    return kernels


def _check_captured(name: str, kernel: JITFunction, defined: ast.FunctionDef) -> None:
    """Triton cuts a kernel's text out of the file by itself; it must be the function that Python defines.

    Raises KernelError otherwise: what is compiled would not be what is interpreted and read.
    """
    line, defined.decorator_list = defined.lineno, []
    try:
        captured = ast.dump(ast.parse(kernel.src))
    except SyntaxError:
        captured = ""
    if captured != ast.dump(ast.Module(body=[defined], type_ignores=[])):
        raise KernelError(
            "expected Triton to see the function that is defined here, got other text", kernel=name, line=line
        )


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: tuple[str, ...] = (),
    level: int = 0,
) -> object:
    if level == 0 and name in ("triton", "triton.language", "math", "triton.language.extra"):
        return __import__(name, None, None, fromlist, 0)
    raise ImportError(f"expected an import of triton, triton.language or math, got {name}")


def _argument(value: Argument, *, constant: bool, fixed: bool) -> Any:
    if isinstance(value, Prepared):
        return value.make()
    if isinstance(value, PointerArg):
        dtype = core.pointer_type(TYPES[value.dtype])
        return core.tensor(Handle(np.array([value.address], np.int64), dtype, value.buffer), dtype)
    if isinstance(value, str):
        return TYPES.get(value.removeprefix("tl."), value)
    if constant or value is None:
        return value
    if isinstance(value, bool):
        return core.tensor(Handle(np.array([value], np.bool_), tl.int1), tl.int1)
    if isinstance(value, float):
        return core.tensor(Handle(np.array([value], np.float32), tl.float32), tl.float32)
    if value == 1 and not fixed:
        return 1  # the compiler makes a constant of an integer argument that equals one
    dtype, compute = (tl.int64, "i8") if -(2**63) <= value < 2**63 else (tl.uint64, "u8")
    if -(2**31) <= value < 2**31:
        dtype, compute = tl.int32, "i4"
    return core.tensor(Handle(np.array([value], compute), dtype), dtype)


class _Place:
    """Names the kernel and line of the access that is under way."""

    def __init__(self, kernel: str, filename: str) -> None:
        self.kernel = kernel
        self.filename = filename

    def line(self, frame: FrameType | None) -> int:
        while frame is not None:
            if frame.f_code.co_filename == self.filename:
                return frame.f_lineno
            frame = frame.f_back
        return 0

    def __call__(self) -> Location:
        return Location(kernel=self.kernel, line=self.line(sys._getframe(1)))


def _add_up(target: KernelCounters, work: Work, programs: int) -> None:
    target.launches += 1
    target.programs += programs
    for item in fields(Work):
        if item.name not in ("float_atomics", "dot_types", "programs"):
            setattr(target, item.name, getattr(target, item.name) + getattr(work, item.name))
    for operand, flops in work.dot_types.items():
        target.dot_types[operand] = target.dot_types.get(operand, 0) + flops
    for line, count in work.float_atomics.items():
        target.float_atomics[line] = target.float_atomics.get(line, 0) + count


def _line_of(error: BaseException, filename: str) -> int:
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return getattr(error, "line", line) or line


def run_launch(
    kernel: JITFunction,
    arguments: Mapping[str, Argument],
    *,
    grid: tuple[int, int, int],
    arena: Memory,
    counters: Counters,
    limits: WorkLimits,
    order: Order = "forward",
    conflicts: bool = False,
    overflow: bool | None = None,
    batch: bool = True,
    rounding: int | None = None,
) -> None:
    """Run every program of `grid` (x fastest) on the arena.

    `arguments` are by parameter name, constexprs included; those with a default may be left out. `order`
    permutes the programs, `conflicts` looks for accesses whose order is open, `overflow` (None: as
    `conflicts`) follows offsets that wrap; `batch` lets programs run as one where that changes nothing.
    `rounding` is the seed of other roundings that a device may make (None: each operation is right to half a
    unit). Memory violations become events of the arena and do not stop the run. Raises KernelError for a
    kernel that cannot run, WorkLimitExceeded for one that does too much.
    """
    layer = language()
    function = private.captured_source(kernel)
    filename, name = function.__code__.co_filename, function.__name__
    count = grid[0] * grid[1] * grid[2]
    if counters.launches >= limits.launches:
        raise WorkLimitExceeded("launches", limits.launches)
    if counters.programs + count > limits.programs:
        raise WorkLimitExceeded("programs", limits.programs)
    constants, fixed = private.constexpr_parameters(kernel), private.fixed_parameters(kernel)
    plain = {key: value.key if isinstance(value, Prepared) else value for key, value in arguments.items()}
    schedule = layer.schedules.of(kernel, grid, plain)
    work, follow = Work(), conflicts if overflow is None else overflow
    layer.step_limit = limits.loop_steps - counters.loop_steps
    layer.wait_limit = limits.wait_steps
    try:
        with layer.active():
            values = {
                key: _argument(value, constant=key in constants, fixed=key in fixed)
                for key, value in {**private.defaults(kernel), **arguments}.items()
            }
            twin = functools.partial(layer.prepared(kernel), **values)
            revocable = _revocable(arguments, count)
            together = batch and revocable and order == "forward" and arena.recorder is None
            while True:
                arena.begin_launch(
                    locate=_Place(name, filename),
                    grid=grid,
                    conflicts=conflicts,
                    noted=schedule.noted if revocable else None,
                    revocable=revocable,
                    parameters=_parameters(arguments),
                )
                work = Work()
                layer.builder.begin(arena, work, grid, overflow=follow, rounding=rounding)
                try:
                    if together and not schedule.alone:
                        schedule.run(layer.builder, arena, twin)
                    else:
                        for number in _programs(count, order):
                            layer.builder.begin_group(np.array([number]))
                            twin()
                    break
                except (Repeat, NotTogether) as again:
                    arena.revoke()
                    schedule.learn(again)
    except (WorkLimitExceeded, MemoryError, KeyboardInterrupt):
        raise
    except UnsupportedSyntax as error:
        raise KernelError(str(error), kernel=name, line=error.line) from error
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        raise KernelError(message, kernel=name, line=_line_of(error, filename)) from error
    finally:
        arena.end_launch()
        for target in (counters, counters.kernels.setdefault(name, KernelCounters())):
            _add_up(target, work, count)


def _programs(count: int, order: Order) -> Iterable[int]:
    if order == "forward":
        return range(count)
    if order == "reverse":
        return range(count - 1, -1, -1)
    return order


def _revocable(arguments: Mapping[str, Argument], programs: int) -> bool:
    """Whether the launch's memory is small enough to be put back."""
    most = max(LARGEST_KEPT, KEPT_FOR_A_PROGRAM * programs)
    buffers = (buffer for value in arguments.values() for buffer in _buffers_of(value))
    return all(buffer.nbytes <= most for buffer in buffers)


def _parameters(arguments: Mapping[str, Argument]) -> dict[str, str]:
    """Names of buffers -> the kernel's parameters that point into them, as one text."""
    names: dict[str, list[str]] = {}
    for key, value in arguments.items():
        for buffer in _buffers_of(value):
            names.setdefault(buffer.name, []).append(key)
    return {buffer: ", ".join(keys) for buffer, keys in names.items()}


def _buffers_of(value: Argument) -> tuple[Buffer, ...]:
    """The buffers that an argument points into."""
    if isinstance(value, PointerArg):
        return (value.buffer,)
    return value.buffers if isinstance(value, Prepared) else ()
