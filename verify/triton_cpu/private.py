"""The one place that knows what Triton does not document, for Triton 3.6 to 3.9.

Everything another module needs from Triton's inside is a name here, so that a new Triton is checked in one
file.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import triton

# isort: split
from verify.triton_cpu.version import SUPPORTED, VERSION
from verify.triton_cpu.version import supported as _knows

# isort: split
import triton.compiler.code_generator  # binds builtin_min and builtin_max when imported: before any patch
import triton.language as tl
import triton.language.math as tl_math
import triton.runtime.interpreter as stock
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.language import core, standard
from triton.language.semantic import TritonSemantic
from triton.runtime import driver
from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

__all__ = [
    "DOT_PRECISIONS",
    "SUPPORTED",
    "VERSION",
    "Autotuner",
    "Bound",
    "ConstexprFunction",
    "GPUTarget",
    "InterpreterBuilder",
    "InterpreterOptions",
    "JITFunction",
    "TensorDescriptor",
    "TritonSemantic",
    "assembling",
    "atomic_name",
    "bind",
    "builtins_of",
    "cache_key",
    "captured_source",
    "clear_compiled",
    "compile_options",
    "compiler_operations",
    "constexpr_parameters",
    "core",
    "default_precision",
    "defaults",
    "descriptor",
    "driver",
    "enclosed",
    "fixed_parameters",
    "ir",
    "is_builtin",
    "is_constexpr",
    "is_sum",
    "jit_methods",
    "libdevice_modules",
    "library",
    "padding_is_nan",
    "patch_owners",
    "precision_name",
    "propagates_nan",
    "rounds_to_zero",
    "set_cache_directory",
    "source_of",
    "standard",
    "stock_interpreter_is_on",
    "supported",
    "swap_driver",
    "tl",
    "tl_math",
    "trust_empty_cache",
    "unwrapped",
]

InterpreterBuilder = stock.InterpreterBuilder
InterpreterOptions = stock.InterpreterOptions
ConstexprFunction = triton.runtime.jit.ConstexprFunction


DOT_PRECISIONS: tuple[str, ...] = ("tf32", "tf32x3", "ieee", "bf16x3", "bf16x6")
"""Input precisions that NVIDIA's compiler takes for a dot of float32; the stock interpreter knows three."""


def stock_interpreter_is_on() -> bool:
    """Whether `triton.jit` makes functions of Triton's own interpreter (TRITON_INTERPRET=1)."""
    return bool(triton.knobs.runtime.interpret)


def supported() -> bool:
    """Whether the installed Triton is one this layer was written against."""
    return _knows(VERSION)


def is_builtin(value: object) -> bool:
    """Whether `value` is a function of the language (it takes `_semantic`), and not a jit function of its
    library.
    """
    return bool(core.is_builtin(value)) and not isinstance(value, JITFunction)


def unwrapped(builtin: Callable[..., Any]) -> Callable[..., Any]:
    """The function under Triton's check that `_semantic` was given."""
    inner = getattr(builtin, "__wrapped__", builtin)
    return inner if callable(inner) else builtin


def compiler_operations() -> tuple[str, ...]:
    """Names of the operations that the compiler's builder has: create_load, create_dot_scaled, ..."""
    return tuple(name for name in dir(ir.builder) if name.startswith("create_"))


def patch_owners() -> tuple[object, ...]:
    """Modules and classes whose builtins a running kernel reaches."""
    owners: list[object] = [tl, core, tl_math, core.tensor, core.tensor_descriptor_base]
    return tuple(owners)


def builtins_of(owner: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    """(name, builtin) of a module or class, inherited ones included."""
    for name, member in inspect.getmembers(owner):
        if is_builtin(member):
            yield name, member


def library() -> tuple[JITFunction, ...]:
    """The jit functions of Triton's own library (tl.sum, tl.cdiv, tl.sort, ...)."""
    return tuple(member for member in vars(standard).values() if isinstance(member, JITFunction))


def is_sum(function: object) -> bool:
    """Whether a combine function is that of tl.sum and tl.cumsum."""
    return function is standard._sum_combine


def jit_methods() -> dict[str, JITFunction]:
    """Library functions that double as methods of a tensor (`x.sum()`), by name."""
    return {name: member for name, member in vars(core.tensor).items() if isinstance(member, JITFunction)}


def constexpr_parameters(kernel: JITFunction) -> frozenset[str]:
    """Names of the parameters annotated `tl.constexpr`."""
    return frozenset(parameter.name for parameter in kernel.params if parameter.is_constexpr)


def fixed_parameters(kernel: JITFunction) -> frozenset[str]:
    """Names of the parameters that Triton does not specialise on their value."""
    return frozenset(parameter.name for parameter in kernel.params if parameter.do_not_specialize)


def defaults(kernel: JITFunction) -> dict[str, Any]:
    """Values of the parameters that a launch may leave out."""
    return {parameter.name: parameter.default for parameter in kernel.params if parameter.has_default}


def captured_source(kernel: JITFunction) -> Callable[..., Any]:
    """The Python function under a jit function."""
    function: Callable[..., Any] = kernel.fn
    return function


def enclosed(function: Callable[..., Any]) -> dict[str, Any]:
    """Names of enclosing functions that a kernel uses, as Triton captures them when it compiles."""
    return dict(inspect.getclosurevars(function).nonlocals)


def source_of(kernel: JITFunction) -> tuple[str, int]:
    """Source text of a jit function as it was when the function was made, and its first line's number."""
    return "".join(kernel.raw_src), int(kernel.starting_line_number)


def clear_compiled(kernel: JITFunction) -> None:
    """Forget binders and kernels made for an earlier target."""
    kernel.device_caches.clear()


def swap_driver(replacement: object) -> object:
    """Make `replacement` Triton's active driver; returns the one before (None where none was asked for
    yet).
    """
    previous: object = driver._active
    driver._active = replacement
    return previous


def set_cache_directory(path: str) -> str:
    """Use `path` for compiled kernels from now on; returns the directory that was in use."""
    previous: str = triton.knobs.cache.dir
    triton.knobs.cache.dir = path
    return previous


@contextlib.contextmanager
def assembling(*, line_numbers: bool) -> Iterator[None]:
    """Every compile in the context goes all the way, also of what Triton has in its cache, and prints what
    `ptxas -v` says, after all that a kernel prints. Without `line_numbers` LLVM has less to carry along.
    """
    with triton.knobs.nvidia.scope(), triton.knobs.compilation.scope():
        triton.knobs.nvidia.dump_ptxas_log = True
        triton.knobs.compilation.always_compile = True
        if not line_numbers:
            triton.knobs.compilation.disable_line_info = True
        yield


@contextlib.contextmanager
def default_precision(name: str | None) -> Iterator[None]:
    """For a while, what a dot of float32 means where a kernel does not say ("ieee", ...; None: no change)."""
    with triton.knobs.language.scope():
        if name is not None:
            triton.knobs.language.fp32_default = name
        yield


@functools.cache
def compile_options(target: GPUTarget) -> frozenset[str]:
    """Names of the launch options that a target's compiler knows: num_warps, num_ctas, ..."""
    parsed = triton.compiler.make_backend(target).parse_options({})
    return frozenset(vars(parsed))


def cache_key(kernel: JITFunction) -> str:
    """A digest of a kernel's text and of every function and constant that it uses."""
    return str(kernel.cache_key)


def descriptor(base: Any, shape: Any, strides: Any, block_shape: Any, padding: str) -> Any:
    """A host-side tensor descriptor over `base`, which may have no data."""
    return TensorDescriptor(base, list(shape), list(strides), list(block_shape), padding)


def trust_empty_cache() -> None:
    """Leave the contents of Triton's own files out of its cache keys: for a process whose cache is its own.

    Reading them takes a third of a second in every process, and one process has one Triton.
    """
    triton.runtime.cache.triton_key = lambda: triton.__version__


@functools.cache
def precision_name(value: object) -> str:
    """'ieee', 'tf32', 'tf32x3', ... of a dot's input precision."""
    return str(value).rsplit(".", 1)[-1].lower()


def propagates_nan(value: object) -> bool:
    """Whether a clamp passes NaN on (True) or prefers the other operand (False)."""
    return str(value).rsplit(".", 1)[-1] != "NONE"


@functools.cache
def atomic_name(value: object) -> str:
    """'add', 'fadd', 'max', 'umax', 'xchg', ... of an atomic operation."""
    return str(value).rsplit(".", 1)[-1].lower()


def rounds_to_zero(value: object) -> bool:
    """Whether a float conversion was asked to round towards zero."""
    return value is not None and str(value).rsplit(".", 1)[-1].upper() == "RTZ"


def padding_is_nan(value: object) -> bool:
    """Whether lanes outside a block pointer or descriptor read as NaN (else as zero)."""
    return value is not None and "NAN" in str(value).upper()


def libdevice_modules() -> tuple[ModuleType, ModuleType] | None:
    """(the generic module that kernels import, NVIDIA's implementations by the same names), where they
    exist.
    """
    try:
        generic = importlib.import_module("triton.language.extra.libdevice")
        implementation = importlib.import_module("triton.language.extra.cuda.libdevice")
    except ImportError:
        return None
    return generic, implementation


def is_constexpr(value: object) -> bool:
    """Whether `value` is Triton's wrapper of a compile-time constant."""
    return isinstance(value, core.constexpr)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A launch as Triton's own binder sees it.

    `types` gives each parameter's type by Triton's name for it: "constexpr" (also an integer that equals one,
    and None), "*fp32", "i32", "fp32", "tensordesc<fp16[64, 64]>", or a tuple of such for a tuple. `options`
    is what the caller gave besides parameters (num_warps, num_stages, ...).
    """

    values: Mapping[str, Any]
    types: Mapping[str, Any]
    options: Mapping[str, Any]


def bind(kernel: JITFunction, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Bound:
    """Bind a launch's arguments for the active driver's target.

    Raises TypeError for arguments that do not fit the signature or have no type in Triton, KeyError for an
    option that the target's compiler does not know.
    """
    *_, backend, binder = kernel.device_caches[driver.active.get_current_device()]
    values, specialization, options = binder(*args, **kwargs)
    names = [parameter.name for parameter in kernel.params]
    known = _option_names(backend)
    for name in options:
        if name not in known and name not in names:
            raise KeyError(f"Keyword argument {name} was specified but unrecognised")
    types = {name: described[0] for name, described in zip(names, specialization, strict=False)}
    return Bound(values=values, types=types, options=options)


@functools.lru_cache(maxsize=16)
def _option_names(backend: Any) -> frozenset[str]:
    return frozenset(vars(backend.parse_options({})))
