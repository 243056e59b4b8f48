"""triton.language for the length of one grid: patched when it starts, restored however it ends.

Kernels stay `JITFunction`s. For execution their syntax tree is rewritten where Python means something else
than Triton does (assignments, loop variables, and/or/not, conditions, min/max), into functions that live
beside them.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from verify.triton_cpu import private
from verify.triton_cpu.interpreter.builder import Builder
from verify.triton_cpu.interpreter.group import NotTogether
from verify.triton_cpu.interpreter.handles import Array, Handle, spanning
from verify.triton_cpu.interpreter.loops import LoopVariableAfterItsLoop, bounds_of, over
from verify.triton_cpu.interpreter.reductions import (
    checked_axis,
    follow_reduction,
    follow_scan,
    reduce_handles,
    scan_handles,
    shapes_agree,
)
from verify.triton_cpu.interpreter.rewrite import rewritten
from verify.triton_cpu.interpreter.schedule import Schedules
from verify.triton_cpu.interpreter.semantic import Semantic
from verify.triton_cpu.private import JITFunction, core, tl

_MISSING = object()
_FAR = 1 << 61
"""Half of a loop's bound beyond which int64 may not hold the difference of two."""


class WorkLimitExceeded(Exception):
    """A launch did more than it may; `what` names the count, `limit` its bound."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(
            f"expected at most {limit} {what}, got more. Use fewer or shorter loops, or larger blocks."
        )
        self.what = what
        self.limit = limit


class Language:
    """What a running kernel sees of Triton. One per process; `active` while a grid runs."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.semantic = Semantic(self.builder)
        self.step_limit = 0
        self.wait_limit = 0
        self._waited = 0
        self._waiting: object = None
        self._active = False
        self.schedules = Schedules()
        self._rewritten: dict[int, tuple[JITFunction, Callable[..., Any]]] = {}  # holds the key alive
        self._replacements: dict[int, Callable[..., Any]] = {}
        self._patches = self._collect()

    # -- patching --------------------------------------------------------------------------------------------

    @contextmanager
    def active(self) -> Iterator[None]:
        """Patch `triton.language`, and restore every attribute on the way out, in reverse order.

        Within itself it does nothing: who runs many launches in a row enters it once.
        """
        if self._active:
            yield
            return
        saved: list[tuple[Any, str, object]] = []
        self._active = True
        try:
            for owner, name, value in self._patches:
                saved.append((owner, name, vars(owner).get(name, _MISSING)))
                setattr(owner, name, value)
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            self._active = False
            for owner, name, old in reversed(saved):
                if old is _MISSING:
                    delattr(owner, name)
                else:
                    setattr(owner, name, old)

    def _bound(self, builtin: Callable[..., Any]) -> Callable[..., Any]:
        inner, semantic = private.unwrapped(builtin), self.semantic

        def call(*args: Any, **kwargs: Any) -> Any:
            kwargs["_semantic"] = semantic
            return inner(*args, **kwargs)

        return call

    def _collect(self) -> list[tuple[Any, str, object]]:
        patches: list[tuple[Any, str, object]] = []
        for owner in private.patch_owners():
            for name, builtin in private.builtins_of(owner):
                bound = self._replacements.get(id(builtin))
                if bound is None:
                    bound = self._replacements[id(builtin)] = self._bound(builtin)
                patches.append((owner, name, bound))
        own: dict[str, Callable[..., Any]] = {
            "reduce": self._reduce,
            "associative_scan": self._scan,
            "static_assert": _static_assert,
            "static_print": _ignored,
            "device_print": _ignored,
            "device_assert": _ignored,
            "multiple_of": _unchanged,
            "max_contiguous": _unchanged,
            "max_constancy": _unchanged,
        }
        for name, value in own.items():
            for module in (tl, core):
                if hasattr(module, name):
                    self._replacements[id(getattr(module, name))] = value
                    patches.append((module, name, value))
        patches += [
            (core.tensor, "__init__", self.semantic.types.initialiser()),
            (core.block_type, "with_element_ty", self._with_element),
            (core.tensor, "reduce", _as_method(self._reduce)),
            (core.tensor, "associative_scan", _as_method(self._scan)),
            (core.tensor, "T", property(lambda x: self.semantic.permute(x, (1, 0)))),
            (JITFunction, "__call__", _as_method(self.call)),
        ]
        patches += [(core.tensor, name, method) for name, method in self.semantic.operators().items()]
        for name, function in private.jit_methods().items():
            patches.append((core.tensor, name, _as_method(functools.partial(self.call, function))))
        for kind in (core.dtype, core.block_type, core.pointer_type):
            patches.append((kind, "to_ir", lambda dtype, _builder: dtype))
        return patches + self._libdevice_patches()

    def _libdevice_patches(self) -> list[tuple[Any, str, object]]:
        modules = private.libdevice_modules()
        if modules is None:
            return []
        generic, implementation = modules
        patches: list[tuple[Any, str, object]] = []
        for name, stub in vars(generic).items():
            builtin = getattr(implementation, name, None)
            if inspect.isfunction(stub) and builtin is not None and private.is_builtin(builtin):
                bound = self._replacements[id(stub)] = self._bound(builtin)
                self._replacements[id(builtin)] = bound
                patches += [(generic, name, bound), (implementation, name, bound)]
        return patches

    # -- functions of the kernel's file and of Triton's library ----------------------------------------------

    def call(self, function: JITFunction, *args: Any, **kwargs: Any) -> Any:
        """Run a jit function on values of the running kernel."""
        return self.prepared(function)(*args, **kwargs)

    def prepared(self, function: JITFunction) -> Callable[..., Any]:
        """The executable twin of a jit function, made once."""
        found = self._rewritten.get(id(function))
        if found is None:
            found = self._rewritten[id(function)] = (function, self.rewrite(function))
        return found[1]

    def prepare_library(self) -> None:
        """Make the twins of Triton's library now, so that forked workers inherit them."""
        for function in private.library():
            self.prepared(function)

    def rewrite(self, function: JITFunction) -> Callable[..., Any]:
        """The executable twin of a jit function, in a copy of its namespace; its file and lines are kept."""
        python = private.captured_source(function)
        tree, name = rewritten(*private.source_of(function))
        visible = {**python.__globals__, **private.enclosed(python)}
        namespace = {key: self._replacements.get(id(value), value) for key, value in visible.items()}
        namespace.update(self._helpers())
        given = namespace.get("__builtins__", builtins)
        base = given if isinstance(given, dict) else vars(given)
        namespace["__builtins__"] = {
            **base,
            "min": self._extreme("minimum"),
            "max": self._extreme("maximum"),
            "print": _ignored,
        }
        exec(compile(tree, python.__code__.co_filename, "exec"), namespace)
        twin: Callable[..., Any] = namespace[name]
        return twin

    def _helpers(self) -> dict[str, object]:
        return {
            "_aira_value": self._value,
            "_aira_loop": self._loop,
            "_aira_truth": self._truth,
            "_aira_not": self._not,
            "_aira_and": self._and,
            "_aira_or": self._or,
            "_aira_plain": _plain,
            "_aira_check": _check,
            "_aira_step": self._while,
            "_aira_partial": self._partial,
            "_aira_kept": self._kept,
            "_aira_left": self._left,
            "_aira_over": over,
            "_aira_locals": builtins.locals,
        }

    @property
    def _with_element(self) -> Callable[[Any, Any], Any]:
        block = self.semantic.types.block
        return lambda kind, element: block(element, tuple(kind.shape))

    # -- meanings --------------------------------------------------------------------------------------------

    def _value(self, value: Any) -> Any:
        """What an assignment stores: numbers become tensors, tuples element by element."""
        if isinstance(value, core.tensor):
            return value
        if type(value) is tuple:
            return tuple(self._value(part) for part in value)
        return self.semantic.to_tensor(value, False)

    def count_step(self) -> None:
        work = self.builder.work
        work.loop_steps += work.programs
        if work.loop_steps > self.step_limit:
            raise WorkLimitExceeded("loop steps", self.step_limit)

    def _foresee(self, steps: int) -> None:
        """A loop that would take too many steps is not begun: Triton has no way out of one."""
        if self.builder.work.loop_steps + steps > self.step_limit:
            raise WorkLimitExceeded("loop steps", self.step_limit)

    def _while(self, test: Any) -> bool:
        """A group that stays long in `while` loops may wait for a program that runs after it, forever."""
        if not self._truth(test):
            return False
        self.count_step()
        group = self.builder.group
        self._waited = self._waited + 1 if group is self._waiting else 1
        self._waiting = group
        if self._waited > self.wait_limit:
            raise WorkLimitExceeded("steps of a program's while loops", self.wait_limit)
        return True

    def _loop(self, kind: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        if kind is tl.static_range:
            indices = range(*(self._integer(bound) for bound in bounds_of(args, kwargs)))
            self._foresee(len(indices))
            for index in indices:
                self.count_step()
                yield index
        elif kind is range or kind is tl.range:
            wide = any(isinstance(x, core.tensor) and x.dtype.primitive_bitwidth == 64 for x in args)
            dtype, compute = (tl.int64, np.int64) if wide else (tl.int32, np.int32)
            for value in self._passes(bounds_of(args, kwargs)):
                self.count_step()
                yield core.tensor(Handle(value.astype(compute), dtype), dtype)
        else:
            for item in kind(*args, **kwargs):
                self.count_step()
                yield item

    def _passes(self, bounds: Sequence[Any]) -> Iterator[Array]:
        """Values of a loop's variable, (1,) or (p,). Programs whose loop is over take part no more."""
        start, stop, step = (self._integers(bound) for bound in bounds)
        if not step.all():
            raise ValueError("expected the step of a loop to be other than zero, got zero")
        if isinstance(bounds[2], core.tensor) and (step < 0).any():
            raise ValueError(
                f"expected a negative step to be a constant in the call, got a variable, {step.min()}, with "
                "which a device does not count down"
            )
        if start.size == stop.size == step.size == 1:
            indices = range(int(start[0]), int(stop[0]), int(step[0]))
            self._foresee(len(indices) * self.builder.work.programs)
            for index in indices:
                yield np.array([index], np.int64)
            return
        outer = self.builder.active
        counts = np.maximum(-((start - stop) // step), 0)
        if outer is not None:
            counts = np.where(outer, counts, 0)
        far = max(int(np.abs(start >> 1).max()), int(np.abs(stop >> 1).max())) >= _FAR
        if far or step.size > 1 or self.builder.parts_are_large(counts):
            spans = np.stack(spanning(start, stop, step))
            self.builder.decided(np.unique(spans, axis=1, return_inverse=True)[1])
        self._foresee(int(counts.sum()))
        for number in range(int(counts.max())):
            self.builder.focus(number < counts)
            # Where the loop is over the variable keeps its value.
            yield start + np.clip(counts - 1, 0, number) * step
        self.builder.focus(outer)

    def _partial(self) -> bool:
        return self.builder.active is not None

    def _kept(self, new: Any, old: Any) -> Any:
        """What a variable holds after a pass through a loop that only some programs made."""
        if isinstance(new, tuple) and isinstance(old, tuple) and len(new) == len(old):
            return tuple(self._kept(a, b) for a, b in zip(new, old, strict=True))
        if isinstance(new, core.tensor) and isinstance(old, core.tensor):
            return core.tensor(self.builder.kept(new.handle, old.handle), new.type)
        if isinstance(old, LoopVariableAfterItsLoop):
            return new
        if new is not old and (type(new) is not type(old) or _plain(new) != _plain(old)):
            raise NotTogether("a loop that changes a variable that is no tensor")
        return new

    def _left(self) -> None:
        """A loop's body is left before its end: those that take no part would leave it, too."""
        if self.builder.active is not None:
            raise NotTogether("a loop that only some programs leave")

    def _extreme(self, name: str) -> Callable[..., Any]:
        python = builtins.min if name == "minimum" else builtins.max

        def extreme(*args: Any) -> Any:
            parts = [_plain(x) for x in args]
            if not any(isinstance(x, core.tensor) for x in parts):
                return python(*parts)
            best = parts[0]
            for part in parts[1:]:
                best = getattr(core, name)(best, part)
            return best

        return extreme

    def _not(self, value: Any) -> Any:
        return self.semantic.not_(value) if isinstance(value, core.tensor) else not _plain(value)

    def _and(self, *parts: Callable[[], Any]) -> Any:
        return self._logical(parts, stop=False, join=self.semantic.logical_and)

    def _or(self, *parts: Callable[[], Any]) -> Any:
        return self._logical(parts, stop=True, join=self.semantic.logical_or)

    def _logical(self, parts: tuple[Callable[[], Any], ...], *, stop: bool, join: Callable[..., Any]) -> Any:
        """As the compiler does it: constants short-circuit, tensors are all evaluated."""
        kept: list[Any] = []
        value: Any = None
        for part in parts:
            value = _plain(part())
            if isinstance(value, core.tensor):
                kept.append(value)
            elif bool(value) is stop:
                return value
        if not kept:
            return value
        result = kept.pop()
        while kept:
            result = join(kept.pop(), result)
        return result

    # -- decisions -------------------------------------------------------------------------------------------

    def _truth(self, value: Any) -> bool:
        if isinstance(value, core.tensor):
            data = value.handle.data
            if data.size != data.shape[0]:
                raise ValueError(f"expected a scalar as a condition, got a block of shape {data.shape[1:]}")
            return bool(self.builder.decided(data != 0))
        return bool(_plain(value))

    def _integer(self, value: Any) -> int:
        if isinstance(value, core.tensor):
            data = value.handle.data
            if data.size != data.shape[0] or data.dtype.kind not in "iu":
                raise ValueError(f"expected an integer scalar as a loop bound, got {value.type}")
            return int(self.builder.decided(data))
        return int(_plain(value))

    def _integers(self, value: Any) -> Array:
        """An integer scalar as int64, (1,), or (p,) where programs hold different ones."""
        if not isinstance(value, core.tensor):
            return np.array([_plain(value)], np.int64)
        data = value.handle.data
        if data.size != data.shape[0] or data.dtype.kind not in "iu":
            raise ValueError(f"expected an integer scalar as a loop bound, got {value.type}")
        wide: Array = data.astype(np.int64)
        if wide.size > 1 and self.builder.active is not None:
            wide = np.where(self.builder.active, wide, wide[self.builder.active.argmax()])
        return wide[:1] if (wide == wide[0]).all() else wide

    # -- reductions ------------------------------------------------------------------------------------------

    def _tensor(self, handle: Handle) -> Any:
        shape = handle.data.shape[1:]
        return core.tensor(handle, self.semantic.types.block(handle.dtype, shape) if shape else handle.dtype)

    def _combiner(self, function: JITFunction) -> Callable[[list[Handle], list[Handle]], list[Handle]]:
        def combine(left: list[Handle], right: list[Handle]) -> list[Handle]:
            result = self.call(function, *(self._tensor(h) for h in left), *(self._tensor(h) for h in right))
            parts = result if isinstance(result, (tuple, core.tuple)) else (result,)
            return [part.handle for part in parts]

        return combine

    def _inputs(self, value: Any) -> list[Any]:
        parts = [value] if isinstance(value, core.tensor) else list(value)
        if not shapes_agree([part.handle.data.shape[1:] for part in parts]):
            raise ValueError("expected all reduction inputs to have one shape")
        return parts

    def _reduce(
        self, value: Any, axis: Any, combine_fn: JITFunction, keep_dims: Any = False, **_: Any
    ) -> Any:
        axis, keep = _plain(axis), _plain(keep_dims)
        tensors = self._inputs(value)
        rank = len(tensors[0].shape)
        handles = [x.handle for x in tensors]
        if axis is None:
            handles = [Handle(h.data.reshape(h.data.shape[0], -1), h.dtype) for h in handles]
        at = 0 if axis is None else checked_axis(axis, rank)
        shape = [int(n) for n in handles[0].data.shape[1:]]
        del shape[at]
        loose = self.builder.loose
        if loose is not None and private.is_sum(combine_fn) and handles[0].dtype.name == "fp32":
            order = loose.order(handles[0].data.shape[at + 1])
            handles = [Handle(np.take(h.data, order, axis=at + 1), h.dtype) for h in handles]
        results, before = [], self.builder.work.arithmetic()
        reduced = reduce_handles(handles, at + 1, combine_fn, self._combiner(combine_fn))
        self.builder.work.combined(before, handles[0].data, at + 1)
        follow_reduction(self.builder.exact, combine_fn, at + 1, handles[0].data, reduced[0].data)
        for handle in reduced:
            result = self.semantic.wrap_tensor(handle, handle.dtype, shape)
            if keep:
                for place in range(rank) if axis is None else (at,):
                    result = (
                        self.semantic.expand_dims(result, place)
                        if result.type.is_block()
                        else (self.semantic.splat(result, [1]))
                    )
            results.append(result)
        return results[0] if isinstance(value, core.tensor) else tuple(results)

    def _scan(self, value: Any, axis: Any, combine_fn: JITFunction, reverse: Any = False, **_: Any) -> Any:
        tensors = self._inputs(value)
        at = checked_axis(_plain(axis), len(tensors[0].shape))
        first, before = tensors[0].handle.data, self.builder.work.arithmetic()
        back = bool(_plain(reverse))
        handles = scan_handles(
            [x.handle for x in tensors], at + 1, combine_fn, self._combiner(combine_fn), reverse=back
        )
        follow_scan(self.builder.exact, combine_fn, at + 1, first, handles[0].data, reverse=back)
        passes = max(1, (first.shape[at + 1] - 1).bit_length())
        self.builder.work.combined(before, first, at + 1, passes=passes)
        results = [core.tensor(h, x.type) for h, x in zip(handles, tensors, strict=True)]
        return results[0] if isinstance(value, core.tensor) else tuple(results)


# -- helpers that need no language ---------------------------------------------------------------------------


def _as_method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function, which a class binds to its instances, around a callable that it would not bind."""

    def method(instance: Any, *args: Any, **kwargs: Any) -> Any:
        return function(instance, *args, **kwargs)

    return method


def _ignored(*_args: Any, **_kwargs: Any) -> None:
    """A kernel has no channel but its buffers."""


def _unchanged(value: Any, *_hints: Any) -> Any:
    """What a hint to the compiler returns."""
    return value


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, core.constexpr) else value


def _static_assert(condition: Any, message: Any = "", **_: Any) -> None:
    if not _plain(condition):
        raise ValueError(f"expected the condition of tl.static_assert to hold: {_plain(message)}")


def _check(condition: Any, message: Any) -> None:
    if not isinstance(condition, core.tensor) and not _plain(condition):
        raise ValueError(f"expected the asserted condition to hold: {_plain(message)}")
