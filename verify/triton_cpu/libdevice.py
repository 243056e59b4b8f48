"""Functions of NVIDIA's libdevice that kernels call by name, computed by PyTorch in the argument's
precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]


def _half_away(x: torch.Tensor) -> torch.Tensor:
    return torch.sign(x) * torch.floor(x.abs() + 0.5)


def _cube_root(x: torch.Tensor) -> torch.Tensor:
    return (torch.sign(x).double() * x.double().abs().pow(1 / 3)).to(x.dtype)


_FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "abs": torch.abs, "fabs": torch.abs, "acos": torch.acos, "acosh": torch.acosh, "asin": torch.asin,
    "asinh": torch.asinh, "atan": torch.atan, "atan2": torch.atan2, "atanh": torch.atanh, "cbrt": _cube_root,
    "ceil": torch.ceil, "copysign": torch.copysign, "cos": torch.cos, "cosh": torch.cosh, "erf": torch.erf,
    "erfc": torch.erfc, "erfinv": torch.erfinv, "exp": torch.exp, "exp2": torch.exp2,
    "exp10": lambda x: torch.pow(10.0, x), "expm1": torch.expm1, "floor": torch.floor, "fmod": torch.fmod,
    "fmax": torch.fmax, "fmin": torch.fmin, "hypot": torch.hypot, "isinf": torch.isinf, "isnan": torch.isnan,
    "finite": torch.isfinite, "isfinited": torch.isfinite, "lgamma": torch.lgamma, "llrint": torch.round,
    "log": torch.log, "log10": torch.log10, "log1p": torch.log1p, "log2": torch.log2,
    "nearbyint": torch.round, "pow": torch.pow, "rint": torch.round, "round": _half_away,
    "rsqrt": torch.rsqrt, "signbit": torch.signbit,
    "sin": torch.sin, "sinh": torch.sinh, "sqrt": torch.sqrt, "tan": torch.tan, "tanh": torch.tanh,
    "trunc": torch.trunc, "fast_exp": torch.exp, "fast_log": torch.log, "fast_tanh": torch.tanh,
    "fast_sin": torch.sin, "fast_cos": torch.cos, "fast_div": torch.div, "fast_pow": torch.pow,
}
_SUFFIXES = ("", "f", "_rn", "f_rn")


def call_device_function(symbol: str, arguments: Sequence[Array]) -> Array:
    """`__nv_tanhf` and its like on arrays of one shape. Raises ValueError for a symbol that is not known
    here.
    """
    name = symbol.removeprefix("__nv_")
    for suffix in _SUFFIXES:
        base = name.removesuffix(suffix) if suffix else name
        if name.endswith(suffix) and base in _FUNCTIONS:
            tensors = [torch.from_numpy(np.ascontiguousarray(x)) for x in np.broadcast_arrays(*arguments)]
            result: Array = _FUNCTIONS[base](*tensors).numpy()
            return result
    raise ValueError(f"expected a libdevice function that runs without a device, got {symbol}")
