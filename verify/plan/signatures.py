"""The parameters of a mechanism's kernels, as a launch names and orders them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, kw_only=True)
class KernelSignature:
    """A kernel as the tracer needs it: parameter names in order, and the literal defaults of the last
    ones.
    """

    parameters: tuple[str, ...]
    defaults: Mapping[str, int | float | bool | None]


@lru_cache(maxsize=4)
def kernel_signatures(source: str, kernels: tuple[str, ...]) -> Mapping[str, KernelSignature]:
    """The parameters of each `@triton.jit` function, read from the syntax tree; nothing is executed."""
    found: dict[str, KernelSignature] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name in kernels:
            names = tuple(argument.arg for argument in (*node.args.posonlyargs, *node.args.args))
            values = [ast.literal_eval(default) for default in node.args.defaults]
            defaults = dict(zip(names[len(names) - len(values) :], values, strict=True)) if values else {}
            found[node.name] = KernelSignature(parameters=names, defaults=defaults)
    return found
