"""Functions of NVIDIA's libdevice that kernels call by name, computed by PyTorch in the argument's
precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from verify.triton_cpu.interpreter.numerics import fused_multiply_add

Array = npt.NDArray[Any]


def _half_away(x: torch.Tensor) -> torch.Tensor:
    return torch.sign(x) * torch.floor(x.abs() + 0.5)


def _cube_root(x: torch.Tensor) -> torch.Tensor:
    return (torch.sign(x).double() * x.double().abs().pow(1 / 3)).to(x.dtype)


def _gamma(x: torch.Tensor) -> torch.Tensor:
    """By reflection below 1/2: sin(pi x) gives the sign."""
    wide = x.double()
    below = torch.pi / (torch.sin(torch.pi * wide) * torch.exp(torch.lgamma(1 - wide)))
    return torch.where(wide < 0.5, below, torch.exp(torch.lgamma(wide))).to(x.dtype)


def _fused(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.asarray(fused_multiply_add(x.numpy(), y.numpy(), z.numpy())))


_FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "abs": torch.abs,
    "fabs": torch.abs,
    "acos": torch.acos,
    "acosh": torch.acosh,
    "asin": torch.asin,
    "asinh": torch.asinh,
    "atan": torch.atan,
    "atan2": torch.atan2,
    "atanh": torch.atanh,
    "cbrt": _cube_root,
    "ceil": torch.ceil,
    "copysign": torch.copysign,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "erfc": torch.erfc,
    "erfinv": torch.erfinv,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "exp10": lambda x: torch.pow(10.0, x),
    "expm1": torch.expm1,
    "floor": torch.floor,
    "fmod": torch.fmod,
    "fmax": torch.fmax,
    "fmin": torch.fmin,
    "hypot": torch.hypot,
    "isinf": torch.isinf,
    "isnan": torch.isnan,
    "finite": torch.isfinite,
    "isfinited": torch.isfinite,
    "lgamma": torch.lgamma,
    "llrint": torch.round,
    "log": torch.log,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "nearbyint": torch.round,
    "pow": torch.pow,
    "rint": torch.round,
    "round": _half_away,
    "rsqrt": torch.rsqrt,
    "signbit": torch.signbit,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "sqrt": torch.sqrt,
    "tan": torch.tan,
    "tanh": torch.tanh,
    "trunc": torch.trunc,
    "fast_exp": torch.exp,
    "fast_log": torch.log,
    "fast_tanh": torch.tanh,
    "fast_sin": torch.sin,
    "fast_cos": torch.cos,
    "fast_div": torch.div,
    "fast_pow": torch.pow,
    "fast_exp10": lambda x: torch.pow(10.0, x),
    "fast_fdivide": torch.div,
    "fast_log2": torch.log2,
    "fast_log10": torch.log10,
    "fast_tan": torch.tan,
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "rcp": torch.reciprocal,
    "fdim": lambda x, y: torch.clamp(x - y, min=0),
    "saturate": lambda x: torch.clamp(x.nan_to_num(0), 0, 1),
    "erfcx": torch.special.erfcx,
    "erfcinv": lambda x: torch.erfinv(1 - x),
    "normcdf": torch.special.ndtr,
    "normcdfinv": torch.special.ndtri,
    "rcbrt": lambda x: torch.reciprocal(_cube_root(x)),
    "tgamma": _gamma,
    "cyl_bessel_i0": torch.special.i0,
    "cyl_bessel_i1": torch.special.i1,
    "j0": torch.special.bessel_j0,
    "j1": torch.special.bessel_j1,
    "y0": torch.special.bessel_y0,
    "y1": torch.special.bessel_y1,
    "sinpi": lambda x: torch.sin(torch.pi * x.double()).to(x.dtype),
    "cospi": lambda x: torch.cos(torch.pi * x.double()).to(x.dtype),
    "ldexp": torch.ldexp,
    "fma": _fused,
}
_SUFFIXES = ("", "f", "_rn", "f_rn")


_SLICE = 1 << 14
"""Elements of one call: PyTorch divides longer ones among threads."""
_WHOLE = 64
"""PyTorch computes what is left of a vector's length in another way than the vectors before it."""


def _sliced(function: Callable[..., torch.Tensor], arrays: Sequence[Array]) -> Array:
    """The function of each element, the same wherever the element lies."""
    shape, size = arrays[0].shape, arrays[0].size
    padded = []
    for array in arrays:
        flat = np.ones(-(-size // _WHOLE) * _WHOLE, array.dtype)
        flat[:size] = array.reshape(-1)
        padded.append(torch.from_numpy(flat))
    parts = [
        function(*(x[at : at + _SLICE] for x in padded)).numpy() for at in range(0, max(size, 1), _SLICE)
    ]
    return np.concatenate(parts)[:size].reshape(shape)


def call_device_function(symbol: str, arguments: Sequence[Array]) -> Array:
    """`__nv_tanhf` and its like on arrays of one shape. Raises ValueError for a symbol that is not known
    here.
    """
    name = symbol.removeprefix("__nv_")
    for suffix in _SUFFIXES:
        base = name.removesuffix(suffix) if suffix else name
        if name.endswith(suffix) and base in _FUNCTIONS:
            return _sliced(_FUNCTIONS[base], np.broadcast_arrays(*arguments))
    raise ValueError(f"expected a libdevice function that runs without a device, got {symbol}")
