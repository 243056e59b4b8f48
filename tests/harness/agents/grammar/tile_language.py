"""A small `tl` over NumPy: enough to run printed bodies on arrays of any float dtype."""

from __future__ import annotations

import math
import textwrap
from types import SimpleNamespace
from typing import Any

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


TL = SimpleNamespace(
    exp=np.exp,
    exp2=np.exp2,
    log=np.log,
    sqrt=np.sqrt,
    rsqrt=lambda x: 1.0 / np.sqrt(x),
    abs=np.abs,
    erf=lambda x: _erf(x).astype(x.dtype),
    sigmoid=_sigmoid,
    where=np.where,
    maximum=np.maximum,
    minimum=np.minimum,
    sum=np.sum,
    max=np.max,
    full=np.full,
    float32=np.float32,
)


def run_body(body: str, arguments: dict[str, Any], names: dict[str, Any]) -> Any:
    """What a printed function body returns for `arguments`, with only `names` in sight."""
    parameters = ", ".join(arguments)
    scope = dict(names)
    exec(f"def printed({parameters}):\n{textwrap.indent(body, '    ')}\n", scope)
    with np.errstate(all="ignore"):
        return scope["printed"](**arguments)
