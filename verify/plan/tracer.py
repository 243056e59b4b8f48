"""Turn a mechanism's `forward` and `backward` into a launch plan, on tensors without data.

Runs hostile Python, so only inside a confined worker. The wrappers see fake CPU tensors, a handful of torch
factories, and kernels that record their launch; every ATen operation that is not an allocation, a fill, a
view or a copy is refused at the wrapper's line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import CodeType, SimpleNamespace
from typing import Any, NoReturn

import torch
import triton
import triton.language as tl
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from verify.candidate_python import (
    candidate_builtins,
    candidate_math,
    compile_candidate,
    counted_steps,
    current_line,
    first_line,
    line_of,
)
from verify.dtypes import FORMATS
from verify.plan.format import (
    MAX_BUFFERS,
    MAX_STEPS,
    TRITON_DTYPES,
    Argument,
    BufferDecl,
    Copy,
    DtypeName,
    Fill,
    Launch,
    Plan,
    Step,
    TensorRef,
)
from verify.plan.request import Layout, TraceRequest
from verify.plan.signatures import KernelSignature
from verify.sandbox.wire import Refusal
from verify.source.static import blank_out

TORCH_FACTORIES = (
    "empty",
    "empty_like",
    "empty_strided",
    "zeros",
    "zeros_like",
    "ones",
    "ones_like",
    "full",
    "full_like",
)
TORCH_DTYPES = (
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "bool",
)
LAUNCH_OPTIONS = ("num_warps", "num_stages")

ALLOCATIONS = frozenset(
    {
        "empty",
        "empty_like",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
        "empty_permuted",
    }
)
FILLED = {"zeros": 0.0, "zeros_like": 0.0, "new_zeros": 0.0, "ones": 1.0, "ones_like": 1.0, "new_ones": 1.0}
FULL = frozenset({"full", "full_like", "new_full"})
VIEWS = frozenset(
    {
        "view",
        "_unsafe_view",
        "_reshape_alias",
        "reshape",
        "expand",
        "permute",
        "transpose",
        "t",
        "unsqueeze",
        "squeeze",
        "select",
        "slice",
        "alias",
        "split",
        "split_with_sizes",
        "unbind",
        "unflatten",
        "flatten",
        "narrow",
        "movedim",
        "detach",  # torch's factories call it on fresh tensors; a plan has no graph that it could cut
        "prim::device",
    }
)
COPIES = frozenset({"clone", "_to_copy", "contiguous"})


def trace(source: str, request: TraceRequest, kernels: Mapping[str, KernelSignature]) -> Plan:
    """The launch plan of one forward and, when `request.needs` is given, one backward.

    Raises `Refusal` with a rule id and the wrapper's line when the wrappers do what a plan cannot hold.
    """
    recorder = _Recorder()
    namespace = _namespace(source, recorder, kernels)
    with FakeTensorMode(allow_non_fake_inputs=False), torch.no_grad(), recorder:
        tensors = {name: recorder.argument(name, layout) for name, layout in request.arguments.items()}
        names = [name for name, _ in (*request.inputs, *request.params)]
        states = tuple(tensors[name] for name, _ in request.state)
        options = {"tuning": dict(request.tuning), **request.constants}
        result = _call(namespace, "forward", [tensors[name] for name in names], {"state": states, **options})
        output, state, residuals = _forward_results(result, len(states))
        forward, recorder.steps = tuple(recorder.steps), []
        gradients = None
        if request.needs is not None:
            d_state = tuple(tensors[f"d_{name}"] for name, _ in request.state)
            values = _call(
                namespace,
                "backward",
                [residuals, tensors["d_output"], d_state],
                {"needs": request.needs, **options},
            )
            gradients = _gradients(recorder, values, len(request.needs))
        return Plan(
            buffers=tuple(recorder.buffers),
            forward=forward,
            output=recorder.ref(output),
            state=tuple(recorder.ref(tensor) for tensor in state),
            residuals=tuple(_residual(recorder, value) for value in residuals),
            backward=tuple(recorder.steps),
            gradients=gradients,
        )


def warm_up() -> None:
    """Make torch import what the first fake tensor needs (about a second), so that a server does it before it
    forks.
    """
    recorder = _Recorder()
    with FakeTensorMode(allow_non_fake_inputs=False), torch.no_grad(), recorder:
        tensor = recorder.argument("x", Layout.dense((2, 3), "float32"))
        torch.empty_like(tensor.transpose(0, 1).contiguous(), device=tensor.device)


def _namespace(source: str, recorder: _Recorder, kernels: Mapping[str, KernelSignature]) -> dict[str, Any]:
    """Execute the wrapper functions in a namespace that holds only what a wrapper may name."""
    namespace: dict[str, Any] = {
        "__builtins__": candidate_builtins(),
        "__name__": "mechanism",
        "math": candidate_math(),
        "torch": SimpleNamespace(
            **{name: getattr(torch, name) for name in (*TORCH_FACTORIES, *TORCH_DTYPES)}
        ),
        "triton": SimpleNamespace(cdiv=triton.cdiv, next_power_of_2=triton.next_power_of_2),
        "tl": SimpleNamespace(
            **{
                name: DtypeName(name="bool" if name == "int1" else name)
                for name in (*TRITON_DTYPES, "int1")
                if hasattr(tl, name)
            }
        ),
    }
    for name, signature in kernels.items():
        namespace[name] = _TracedKernel(name, signature, recorder)
    exec(_wrapper_code(source), namespace)
    return namespace


@lru_cache(maxsize=4)
def _wrapper_code(source: str) -> CodeType:
    return compile_candidate(blank_out(source, keep="wrapper"))


def _call(
    namespace: Mapping[str, Any], name: str, arguments: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    try:
        with counted_steps("CON-WORK-LIMIT", bytecodes=True):
            return namespace[name](*arguments, **options)
    except Refusal:
        raise
    except RecursionError:
        _refuse(
            "CON-WRAPPER-ERROR",
            f"{name} recursed without end; expected plain code that allocates and launches",
            line=line_of(sys.exc_info()[2]),
        )
    except Exception as error:
        _refuse(
            "CON-WRAPPER-ERROR",
            f"{name} raised {type(error).__name__}: {first_line(error)}; expected it to return "
            "for every shape, dtype and tuning of the contract",
            line=line_of(error.__traceback__),
        )


def _refuse(rule: str, message: str, *, line: int | None = None) -> NoReturn:
    raise Refusal(rule, message, line if line is not None else (current_line() or None))


def _forward_results(result: Any, states: int) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    if not (isinstance(result, tuple) and len(result) == 3):
        _refuse("CON-RESULT", f"forward: expected (output, state, residuals), got {_describe(result)}")
    output, state, residuals = result
    if not isinstance(output, torch.Tensor):
        _refuse("CON-RESULT", f"forward: expected a tensor as output, got {_describe(output)}")
    if not (
        isinstance(state, tuple) and len(state) == states and all(isinstance(t, torch.Tensor) for t in state)
    ):
        _refuse("CON-RESULT", f"forward: expected a tuple of {states} state tensors, got {_describe(state)}")
    if not isinstance(residuals, tuple):
        _refuse("CON-RESULT", f"forward: expected a tuple of residuals, got {_describe(residuals)}")
    return output, state, residuals


def _gradients(recorder: _Recorder, values: Any, count: int) -> tuple[TensorRef | None, ...]:
    if not (isinstance(values, tuple) and len(values) == count):
        _refuse(
            "CON-RESULT",
            f"backward: expected a tuple of {count} gradients (inputs, params, state), "
            f"got {_describe(values)}",
        )
    refs: list[TensorRef | None] = []
    for value in values:
        if value is not None and not isinstance(value, torch.Tensor):
            _refuse("CON-RESULT", f"backward: expected tensors or None as gradients, got {_describe(value)}")
        refs.append(None if value is None else recorder.ref(value))
    return tuple(refs)


def _residual(recorder: _Recorder, value: Any) -> TensorRef | float | int | bool | None:
    if isinstance(value, torch.Tensor):
        return recorder.ref(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    _refuse("CON-RESULT", f"forward: expected tensors and numbers as residuals, got {_describe(value)}")


def _describe(value: Any) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {len(value)} ({', '.join(type(item).__name__ for item in value[:8])})"
    return type(value).__name__


class _Recorder(TorchDispatchMode):
    """Sees every ATen call of the wrappers and writes the plan's buffers and steps."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers: list[BufferDecl] = []
        self.steps: list[Step] = []
        self._ids: dict[int, int] = {}
        self._keep: list[torch.Tensor] = []
        self._trusted = False

    def argument(self, name: str, layout: Layout) -> torch.Tensor:
        """A fake tensor that stands for what the caller supplies."""
        self._trusted = True
        try:
            dtype = getattr(torch, layout.dtype)
            base = torch.empty(layout.length, dtype=dtype)
            tensor = base.as_strided(layout.shape, layout.strides, layout.offset)
        finally:
            self._trusted = False
        self._register(tensor, argument=name, label=name)
        return tensor

    def ref(self, tensor: torch.Tensor) -> TensorRef:
        identity = tensor.untyped_storage()._cdata
        if identity not in self._ids:
            _refuse(
                "CON-FOREIGN-TENSOR",
                "a tensor that neither the caller nor an allocation made; expected arguments, "
                "torch.empty and views of them",
            )
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in FORMATS:
            _refuse("CON-DTYPE", f"dtype {dtype}: expected one of {sorted(FORMATS)}")
        return TensorRef(
            buffer=self._ids[identity],
            dtype=dtype,
            shape=tuple(tensor.shape),
            strides=tensor.stride(),
            offset=int(tensor.storage_offset()),
        )

    def add(self, step: Step) -> None:
        if len(self.steps) >= MAX_STEPS:
            _refuse(
                "CON-PLAN-SIZE",
                f"more than {MAX_STEPS} steps in one call; launch over a grid, not in a Python loop",
            )
        self.steps.append(step)

    def _register(self, tensor: torch.Tensor, *, argument: str | None, label: str) -> None:
        if len(self.buffers) >= MAX_BUFFERS:
            _refuse(
                "CON-PLAN-SIZE",
                f"more than {MAX_BUFFERS} allocations in one call; allocate once, outside the loop",
            )
        storage = tensor.untyped_storage()
        self._ids[storage._cdata] = len(self.buffers)
        self._keep.append(tensor)
        self.buffers.append(BufferDecl(nbytes=int(storage.nbytes()), argument=argument, label=label))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if self._trusted:
            return func(*args, **options)
        name = func._schema.name.removeprefix("aten::")
        line = current_line()
        if name in VIEWS:
            return func(*args, **options)
        if name in ALLOCATIONS or name in FILLED or name in FULL:
            out = self._plain(func, args, options)
            self._register(out, argument=None, label=f"torch.{name} at line {line}")
            value = FILLED.get(name)
            if name in FULL:
                value = self._number(args[2] if name == "new_full" else args[1])
            if value is not None:
                self.add(Fill(out=self.ref(out), value=value, line=line))
            return out
        if name in COPIES:
            out = self._plain(func, args, options)
            self._register(out, argument=None, label=f"{name} at line {line}")
            self.add(Copy(source=self.ref(args[0]), out=self.ref(out), line=line))
            return out
        if name in ("fill_", "zero_"):
            self.add(
                Fill(
                    out=self._writable(args[0]),
                    value=0.0 if name == "zero_" else self._number(args[1]),
                    line=line,
                )
            )
            return args[0]
        if name == "copy_":
            out = self._writable(args[0])
            self.add(Copy(source=self.ref(args[1].expand(args[0].shape)), out=out, line=line))
            return args[0]
        if name in ("_local_scalar_dense", "is_nonzero", "item", "equal"):
            _refuse(
                "CON-VALUE-READ",
                "the wrapper asks for a tensor's value; expected a plan that depends on shapes, "
                "strides and dtypes only. Compute with a kernel instead.",
            )
        _refuse(
            "CON-ATEN",
            f"the wrapper calls aten::{name}; expected only allocations, fills, views and copies. "
            "Do the arithmetic in a @triton.jit kernel.",
        )

    def _plain(self, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> torch.Tensor:
        device = options.get("device")
        if device is not None and torch.device(device).type != "cpu":
            _refuse(
                "CON-DEVICE",
                f"device={device!s}: expected device=<a tensor>.device, the plan serves every device",
            )
        if options.get("pin_memory") or options.get("requires_grad"):
            _refuse("CON-ATEN", "pin_memory and requires_grad: expected plain allocations")
        out = func(*args, **options)
        if not isinstance(out, torch.Tensor) or out.layout is not torch.strided:
            _refuse("CON-ATEN", "expected a dense tensor from an allocation")
        return out

    def _writable(self, tensor: torch.Tensor) -> TensorRef:
        ref = self.ref(tensor)
        if self.buffers[ref.buffer].argument is not None:
            _refuse(
                "CON-INPUT-WRITE",
                f"the wrapper writes into its argument {self.buffers[ref.buffer].argument}; "
                "expected arguments to stay as they are. Write into a new tensor.",
            )
        return ref

    @staticmethod
    def _number(value: Any) -> float:
        if isinstance(value, bool | int | float):
            return float(value)
        _refuse("CON-VALUE-READ", "a fill with a tensor's value; expected a number")


class _TracedKernel:
    """Stands for a `@triton.jit` function in the wrappers' namespace: `kernel[grid](...)` records a
    launch.
    """

    __slots__ = ("_name", "_recorder", "_signature")

    def __init__(self, name: str, signature: KernelSignature, recorder: _Recorder) -> None:
        self._name, self._signature, self._recorder = name, signature, recorder

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def launch(*args: Any, **kwargs: Any) -> None:
            self._launch(grid, args, kwargs)

        return launch

    def __call__(self, *_: Any) -> NoReturn:
        _refuse("CON-LAUNCH", f"{self._name} is called without a grid; expected {self._name}[grid](...)")

    def _launch(self, grid: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        options = {name: kwargs.pop(name) for name in LAUNCH_OPTIONS if name in kwargs}
        parameters = self._signature.parameters
        if len(args) > len(parameters):
            _refuse(
                "CON-LAUNCH", f"{self._name}: expected at most {len(parameters)} arguments, got {len(args)}"
            )
        bound = dict(zip(parameters, args, strict=False))
        for name, value in kwargs.items():
            if name not in parameters or name in bound:
                _refuse(
                    "CON-LAUNCH",
                    f"{self._name}: {'repeated' if name in bound else 'unknown'} argument {name}; "
                    f"expected {', '.join(parameters)}, num_warps, num_stages",
                )
            bound[name] = value
        bound = {**self._signature.defaults, **bound}
        missing = [name for name in parameters if name not in bound]
        if missing:
            _refuse("CON-LAUNCH", f"{self._name}: missing argument {', '.join(missing)}")
        sizes = grid(bound) if callable(grid) else grid
        self._recorder.add(
            Launch(
                kernel=self._name,
                arguments=tuple((name, self._argument(name, bound[name])) for name in parameters),
                grid=self._grid(sizes),
                num_warps=self._option(options, "num_warps", 4),
                num_stages=self._option(options, "num_stages", 3),
                line=current_line(),
            )
        )

    def _argument(self, name: str, value: Any) -> Argument:
        if isinstance(value, torch.Tensor):
            return self._recorder.ref(value)
        if isinstance(value, torch.dtype):
            return DtypeName(name=str(value).removeprefix("torch."))
        if value is None or isinstance(value, bool | int | float | DtypeName):
            return value
        _refuse(
            "CON-LAUNCH",
            f"{self._name}: argument {name} is a {type(value).__name__}; expected a tensor, a number, "
            "None or a dtype",
        )

    def _grid(self, sizes: Any) -> tuple[int, int, int]:
        items = tuple(sizes) if isinstance(sizes, tuple | list) else (sizes,)
        if not 1 <= len(items) <= 3 or any(
            isinstance(size, bool) or not isinstance(size, int) for size in items
        ):
            _refuse("CON-LAUNCH", f"{self._name}: expected a grid of 1 to 3 integers, got {_describe(sizes)}")
        if any(size < 1 for size in items):
            _refuse("CON-LAUNCH", f"{self._name}: grid {items}: expected every size to be at least 1")
        first, second, third = (*items, 1, 1)[:3]
        return (first, second, third)

    def _option(self, options: Mapping[str, Any], name: str, default: int) -> int:
        value = options.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            _refuse("CON-LAUNCH", f"{self._name}: {name} is {value!r}; expected an integer")
        return value
