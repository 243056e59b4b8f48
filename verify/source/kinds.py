"""What kind of value a name of a plain function holds, as far as the text tells: enough to say at which line
a wrapper computes.

An under-approximation by design: `unknown` is allowed here and judged by the tracer, which sees the values'
types.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from verify.source.outline import dotted
from verify.source.vocabulary import (
    LIST_METHODS,
    MODULES,
    NUMERIC_BUILTINS,
    RETURNS_NUMBERS,
    RETURNS_TENSORS,
    RETURNS_UNKNOWN,
    TORCH_DTYPES,
)

Kind = Literal["number", "tensor", "numbers", "tensors", "sequence", "text", "other", "unknown"]
"""`numbers` and `tensors` are sequences of one kind; `other` covers None, dtypes and devices."""

_PASSES = 8


@dataclass(frozen=True)
class Scope:
    """The kinds of a function's names, and of the expressions asked about so far (by identity)."""

    kinds: dict[str, Kind]
    memo: dict[int, Kind | None] = field(default_factory=dict)


def infer(function: ast.FunctionDef, parameters: Mapping[str, Kind]) -> Scope:
    """The kinds of all names of the function; a name bound to different kinds is `unknown`."""
    known = Scope({})
    for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs):
        known.kinds[argument.arg] = parameters.get(argument.arg, annotated(argument.annotation))
    fixed = dict(known.kinds)
    for _ in range(_PASSES):
        found: dict[str, Kind | None] = dict(fixed)
        for node in ast.walk(function):
            for name, kind in _bindings(node, known):
                previous = found.get(name)
                found[name] = (
                    kind if previous is None else previous if kind in (None, previous) else "unknown"
                )
        fresh = {name: kind for name, kind in found.items() if kind is not None}
        if fresh == known.kinds:
            break
        known = Scope(fresh)
    return known


def annotated(node: ast.expr | None) -> Kind:
    """The kind that an annotation promises."""
    text = ast.unparse(node) if node is not None else ""
    if text == "torch.Tensor":
        return "tensor"
    if text in ("int", "float", "bool"):
        return "number"
    if text.startswith(("tuple[torch.Tensor", "list[torch.Tensor")) and "None" not in text:
        return "tensors"
    if text.startswith(("tuple[int", "list[int", "tuple[bool", "tuple[float", "dict[str, int")):
        return "numbers"
    return "sequence" if text.startswith(("tuple", "list")) else "unknown"


def _bindings(node: ast.AST, known: Scope) -> Iterable[tuple[str, Kind | None]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _unpack(target, node.value, kind_of(node.value, known), known)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield from _unpack(node.target, node.value, kind_of(node.value, known), known)
    elif isinstance(node, ast.AugAssign):
        kind = _operation([kind_of(node.target, known), kind_of(node.value, known)])
        yield from _unpack(node.target, None, kind, known)
    elif isinstance(node, ast.For | ast.comprehension):
        yield from _iterate(node.target, node.iter, known)


def _unpack(
    target: ast.expr, value: ast.expr | None, kind: Kind | None, known: Scope
) -> Iterable[tuple[str, Kind | None]]:
    if isinstance(target, ast.Name):
        yield target.id, kind
    elif isinstance(target, ast.Starred):
        yield from _unpack(target.value, None, kind, known)
    elif isinstance(target, ast.Tuple | ast.List):
        plain = not any(isinstance(item, ast.Starred) for item in target.elts)
        if plain and isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
            for item, part in zip(target.elts, value.elts, strict=True):
                yield from _unpack(item, part, kind_of(part, known), known)
        else:
            for item in target.elts:
                yield from _unpack(
                    item, None, kind if isinstance(item, ast.Starred) else element(kind), known
                )


def _iterate(target: ast.expr, iterable: ast.expr, known: Scope) -> Iterable[tuple[str, Kind | None]]:
    call = iterable if isinstance(iterable, ast.Call) and isinstance(iterable.func, ast.Name) else None
    name = call.func.id if call is not None and isinstance(call.func, ast.Name) else None
    if call is not None and name in ("zip", "enumerate") and isinstance(target, ast.Tuple):
        kinds = [element(kind_of(argument, known)) for argument in call.args]
        kinds = ["number", *kinds[:1]] if name == "enumerate" else kinds
        if len(kinds) == len(target.elts):
            for item, kind in zip(target.elts, kinds, strict=True):
                yield from _unpack(item, None, kind, known)
            return
    yield from _unpack(target, None, element(kind_of(iterable, known)), known)


def element(kind: Kind | None) -> Kind | None:
    """The kind of one item of a value of this kind."""
    if kind is None or kind == "tensor":
        return kind
    return {"numbers": "number", "tensors": "tensor"}.get(kind, "unknown")  # type: ignore[return-value]


def is_sequence(kind: Kind | None) -> bool:
    """Whether a value of this kind is a tuple, list or range for certain."""
    return kind in ("numbers", "tensors", "sequence")


def kind_of(node: ast.expr, known: Scope) -> Kind | None:
    """The kind of an expression; None where it rests on a name that has no kind yet."""
    if id(node) not in known.memo:
        known.memo[id(node)] = _kind_of(node, known)
    return known.memo[id(node)]


def _kind_of(node: ast.expr, known: Scope) -> Kind | None:
    if isinstance(node, ast.Constant):
        return (
            "number"
            if isinstance(node.value, int | float)
            else "text"
            if isinstance(node.value, str)
            else "other"
        )
    if isinstance(node, ast.Name):
        return known.kinds.get(node.id)
    if isinstance(node, ast.Attribute):
        return _attribute(node)
    if isinstance(node, ast.Subscript):
        return _subscript(node, known)
    if isinstance(node, ast.Call):
        return _call(node, known)
    if isinstance(node, ast.UnaryOp):
        return "number" if isinstance(node.op, ast.Not) else kind_of(node.operand, known)
    if isinstance(node, ast.BinOp):
        return _operation([kind_of(node.left, known), kind_of(node.right, known)])
    if isinstance(node, ast.Compare):
        return _comparison(node, known)
    if isinstance(node, ast.BoolOp):
        return _same([kind_of(value, known) for value in node.values])
    if isinstance(node, ast.IfExp):
        return _same([kind_of(node.body, known), kind_of(node.orelse, known)])
    if isinstance(node, ast.Tuple | ast.List):
        return _many([kind_of(item, known) for item in node.elts])
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        return _many([kind_of(node.elt, known)])
    return "unknown"


def _attribute(node: ast.Attribute) -> Kind:
    path = dotted(node) or ""
    if path.split(".")[0] in MODULES:
        return "other" if node.attr in TORCH_DTYPES or path.startswith("tl.") else "number"
    kinds: dict[str, Kind] = {
        "shape": "numbers",
        "ndim": "number",
        "dtype": "other",
        "device": "other",
        "T": "tensor",
        "mT": "tensor",
    }
    return kinds.get(node.attr, "unknown")


def _subscript(node: ast.Subscript, known: Scope) -> Kind | None:
    kind = kind_of(node.value, known)
    if kind is None or kind == "tensor":
        return kind
    return kind if isinstance(node.slice, ast.Slice) else element(kind)


def _call(node: ast.Call, known: Scope) -> Kind | None:
    if isinstance(node.func, ast.Name):
        return _named_call(node.func.id, node, known)
    if not isinstance(node.func, ast.Attribute):
        return "unknown"
    name, path = node.func.attr, dotted(node.func) or ""
    if path.startswith(("math.", "triton.")):
        return "number"
    if name in RETURNS_TENSORS:
        return "tensors"
    if name in RETURNS_NUMBERS:
        return "numbers" if name in ("size", "stride") and not node.args and not node.keywords else "number"
    return "unknown" if name in RETURNS_UNKNOWN or name in LIST_METHODS else "tensor"


def _named_call(name: str, node: ast.Call, known: Scope) -> Kind | None:
    first = kind_of(node.args[0], known) if node.args else "number"
    if name == "range":
        return "numbers"
    if name in ("tuple", "list", "reversed", "sorted"):
        return (
            "tensors" if first == "tensor" else first if first is None or is_sequence(first) else "sequence"
        )
    if name in ("zip", "enumerate"):
        return "sequence"
    if name in ("len", "int", "float", "bool", "any", "all"):
        return "number"
    if name == "slice":
        return "other"
    if name in NUMERIC_BUILTINS:
        kinds = [kind_of(argument, known) for argument in node.args]
        return (
            "number"
            if all(kind in ("number", "numbers") for kind in kinds)
            else "tensor"
            if name == "abs" and first == "tensor"
            else "unknown"
        )
    return "unknown"


def _operation(kinds: list[Kind | None]) -> Kind | None:
    if "tensor" in kinds:
        return "tensor"
    if None in kinds:
        return None
    if any(is_sequence(kind) for kind in kinds):
        sequences = [kind for kind in kinds if is_sequence(kind)]
        return sequences[0] if len(set(sequences)) == 1 else "sequence"
    return "number" if set(kinds) == {"number"} else "unknown"


def _comparison(node: ast.Compare, known: Scope) -> Kind | None:
    if all(isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn) for op in node.ops):
        return "number"
    return _operation([kind_of(part, known) for part in (node.left, *node.comparators)])


def _same(kinds: list[Kind | None]) -> Kind | None:
    known = {kind for kind in kinds if kind is not None}
    if not known:
        return None
    return known.pop() if len(known) == 1 else "unknown"


def _many(kinds: list[Kind | None]) -> Kind | None:
    if None in kinds:
        return None
    many: dict[Kind | None, Kind] = {"number": "numbers", "tensor": "tensors"}
    return many.get(kinds[0], "sequence") if len(set(kinds)) == 1 else "sequence"
