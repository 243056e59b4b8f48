"""How a candidate's Python is executed, wherever it has to be: few names, no annotations, counted steps.

The static policy has refused everything else before; this is the second line, and it says at which line of
the mechanism something happened. Imports neither torch nor triton.
"""

from __future__ import annotations
import __future__

import builtins
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, SimpleNamespace, TracebackType
from typing import Any

from verify.sandbox.wire import Refusal

FILENAME = "<mechanism>"
"""The file name of candidate code in tracebacks, events and `linecache`."""

BUILTINS = (
    "abs",
    "all",
    "any",
    "bool",
    "dict",
    "divmod",
    "enumerate",
    "float",
    "int",
    "isinstance",
    "len",
    "list",
    "max",
    "min",
    "pow",
    "range",
    "reversed",
    "round",
    "slice",
    "sorted",
    "sum",
    "tuple",
    "zip",
    "AssertionError",
    "ValueError",
)
WRAPPER_BYTECODES = 500_000
DEFINITION_LINES = 250_000
"""Steps that one call may take. Counted, so that a verdict does not depend on speed."""


def compile_candidate(text: str) -> CodeType:
    """Compile so that annotations are never evaluated."""
    code: CodeType = compile(
        text, FILENAME, "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True
    )
    return code


def candidate_builtins() -> dict[str, Any]:
    """What a candidate may call by name.

    `__import__` is for torch's C code, which looks it up in its caller's builtins; it hands out only parts of
    torch that are loaded already, and the policy refuses the name.
    """

    def loaded(name: str, *_: Any) -> Any:
        if name.split(".", maxsplit=1)[0] != "torch" or name not in sys.modules:
            raise ImportError(name)
        return sys.modules[name]

    return {**{name: getattr(builtins, name) for name in BUILTINS}, "__import__": loaded}


def candidate_math() -> SimpleNamespace:
    """The public names of `math`."""
    return SimpleNamespace(**{name: getattr(math, name) for name in dir(math) if not name.startswith("_")})


@contextmanager
def counted_steps(rule: str, *, bytecodes: bool) -> Iterator[None]:
    """Refuse with `rule` when the candidate's own frames take too many steps.

    `bytecodes` counts every instruction (a loop inside one expression too), else every line.
    """
    count = 0
    limit = WRAPPER_BYTECODES if bytecodes else DEFINITION_LINES

    def step(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if event in ("line", "opcode"):
            count += 1
            if count > limit:
                raise Refusal(
                    rule,
                    f"more than {limit:,} steps of Python in one call; expected a short function "
                    "without a loop that does not end",
                    frame.f_lineno,
                )
        return step

    def enter(frame: FrameType, _event: str, _: Any) -> Any:
        if frame.f_code.co_filename != FILENAME:
            return None
        frame.f_trace_opcodes = bytecodes
        return step

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


def current_line() -> int:
    """The line of the mechanism that is being executed; 0 outside of it."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the only way to see who called torch
    while frame is not None:
        if frame.f_code.co_filename == FILENAME:
            return frame.f_lineno
        frame = frame.f_back
    return 0


def line_of(traceback: TracebackType | None) -> int | None:
    """The innermost line of the mechanism in a traceback."""
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == FILENAME:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def first_line(error: BaseException) -> str:
    """An exception's message, cut to one line."""
    return (str(error).splitlines() or [""])[0][:200]
