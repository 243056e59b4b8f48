"""What a definition must not ask of torch: to read values or make shapes of them, to replace memory
of tensors, or to change their dtype.

`_Refusing`, a dispatch mode, is called for every operation of a definition and refuses. It costs several
times what the operations themselves do, so a definition is first run under a watch: Python kernels for the
few operations in question, at a dispatch key that nothing else uses and that all other operations fall
through, in C++. The watch refuses nothing. Where it saw something, the definition runs again under the mode,
which decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from verify.candidate_python import current_line
from verify.sandbox.wire import Refusal

Result = TypeVar("Result")

VALUE_READS = frozenset({"_local_scalar_dense", "is_nonzero", "item", "equal", "allclose"})
REPLACING = frozenset({"set_", "resize_", "detach_"})
"""Operations that change what a tensor is. `detach` is not here: torch itself calls it when it saves a result
for backward; the policy refuses the name, and central differences see a cut graph.
"""
CAST = "_to_copy"
VALUE_SHAPES = frozenset({"index", "nonzero", "repeat_interleave"})
"""How many elements come back tells values: of an index by a mask, of `torch.where` of a condition alone,
and of repeats that a tensor counts.
"""


def guarded(call: Callable[[], Result], *, casts: bool) -> Result:
    """`call()`, which runs a definition; with `casts` it may change dtypes. It may be run twice, so it must
    leave nothing behind.

    Raises `Refusal`, with the line that asked for what a definition must not.
    """
    if _WATCH is not None:
        answers = _WATCH.run(call, casts=casts)
        if answers:
            return answers[0]
    with _Refusing(casts=casts):
        return call()


def _forbidden(name: str, args: tuple[Any, ...], options: dict[str, Any], *, casts: bool) -> bool:
    """Whether a definition must not call this operation, which is one of those above."""
    if name == CAST:
        return not casts and options.get("dtype") not in (None, args[0].dtype)
    if name == "index":
        return any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1])
    if name == "repeat_interleave":
        return len(args) == 1 or isinstance(args[1], torch.Tensor)
    return True


class _Refusing(TorchDispatchMode):
    """Sees what a definition calls, not what torch calls for it, and refuses."""

    def __init__(self, *, casts: bool) -> None:
        super().__init__()
        self._casts = casts

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name in VALUE_READS:
            _stop("CON-VALUE-READ", "the definition reads a tensor's value; expected tensor operations only")
        if name in VALUE_SHAPES and _forbidden(name, args, options, casts=self._casts):
            _stop(
                "CON-VALUE-READ",
                f"{name} makes a shape that depends on values; expected torch.where with both choices, or a "
                "product with the mask",
            )
        if name in REPLACING:
            _stop("CON-REFERENCE", f"the definition calls {name}; expected one differentiable graph")
        if name == CAST and _forbidden(name, args, options, casts=self._casts):
            _stop(
                "CON-REFERENCE-CAST",
                f"the reference casts {args[0].dtype} to {options['dtype']}; expected it to "
                "keep the dtype of its inputs, the judge runs it in float64",
            )
        return func(*args, **options)


def _stop(rule: str, message: str) -> NoReturn:
    raise Refusal(rule, message, current_line() or None)


class _Suspected(Exception):
    """Ends a run under the watch."""


class _Watch:
    """Notes whether a definition calls any of the operations above, at no cost to all others.

    Torch's own kernels call them too. Those calls come with autograd's keys excluded, and go on; where torch
    calls one without, the definition is suspected and the mode clears it.
    """

    def __init__(self) -> None:
        private: Any = torch._C
        self._key = private._dispatch_key_parse("TESTING_ONLY_GenericMode")
        self._keys = private.DispatchKeySet(self._key)
        self._on, self._off = private._IncludeDispatchKeyGuard, private._ExcludeDispatchKeyGuard
        self._excluded = private._dispatch_tls_is_dispatch_key_excluded
        self._autograd = private.DispatchKey.AutogradFunctionality
        self._casts, self._seen = False, False
        self._libraries = [torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")]
        everything, ours = self._libraries
        everything.fallback(torch.library.fallthrough_kernel, "TESTING_ONLY_GenericMode")
        for name in sorted(VALUE_READS | VALUE_SHAPES | REPLACING | {CAST}):
            packet = getattr(torch.ops.aten, name)
            for overload in packet.overloads():
                operation = getattr(packet, overload)
                ours.impl(operation, self._kernel(name, operation), "TESTING_ONLY_GenericMode")

    def run(self, call: Callable[[], Result], *, casts: bool) -> list[Result]:
        """`[call()]`; nothing where the call did what the mode must decide about."""
        self._casts, self._seen = casts, False
        try:
            with self._on(self._key):
                answer = call()
        except Refusal:
            raise
        except Exception:
            if self._seen:
                return []
            raise
        return [] if self._seen else [answer]

    def _kernel(self, name: str, operation: Any) -> Callable[..., Any]:
        def kernel(*args: Any, **options: Any) -> Any:
            within = self._excluded(self._autograd)
            if not within and _forbidden(name, args, options, casts=self._casts):
                self._seen = True
                raise _Suspected
            with self._off(self._keys):
                return operation(*args, **options)

        return kernel


def _watch() -> _Watch | None:
    """None under a torch that names these things differently; the mode alone is then slower and as strict."""
    try:
        return _Watch()
    except (AttributeError, RuntimeError, TypeError):
        return None


_WATCH = _watch()
