"""The functions a mechanism must have, their exact signatures, and the TUNING list."""

from __future__ import annotations

import ast

from verify.findings import Finding
from verify.source.contract import Spec
from verify.source.outline import Outline

MAX_TUNINGS = 8
WARPS = (1, 2, 4, 8, 16)
MAX_STAGES = 8


def expected_signature(name: str, spec: Spec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Positional and keyword-only argument names of one of the four functions, in order."""
    if name == "backward":
        return ("residuals", "d_output", "d_state"), ("needs", "tuning", *spec.constants)
    keywords = ("state", "tuning") if name == "forward" else ("state",)
    return tuple(tensor.name for tensor in spec.arguments), (*keywords, *spec.constants)


def check_functions(outline: Outline, spec: Spec) -> list[Finding]:
    """reference, forward and backward exist, parallel may; each has the one signature that SPEC gives it."""
    findings = []
    for name in ("reference", "parallel", "forward", "backward"):
        node = outline.functions.get(name)
        positional, keywords = expected_signature(name, spec)
        expected = f"def {name}({', '.join((*positional, '*', *keywords))})"
        if node is None or name in outline.kernels:
            if name != "parallel" or node is not None:
                findings.append(
                    Finding(
                        rule="CON-FUNCTION",
                        line=node.lineno if node else 1,
                        column=1,
                        message=f"expected a plain "
                        f"function {expected}, got {'a kernel' if node else 'none'}.",
                    )
                )
            continue
        got = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        got_keywords = [argument.arg for argument in node.args.kwonlyargs]
        plain = not (
            node.args.posonlyargs
            or node.args.vararg
            or node.args.kwarg
            or node.args.defaults
            or any(node.args.kw_defaults)
        )
        if tuple(got) != positional or tuple(got_keywords) != keywords or not plain:
            findings.append(
                Finding(
                    rule="CON-SIGNATURE",
                    line=node.lineno,
                    column=node.col_offset + 1,
                    message=f"expected {expected}, got "
                    f"def {name}({ast.unparse(node.args)}). Follow the order of SPEC: inputs, params; "
                    "constants by keyword.",
                )
            )
    return findings


def read_tuning(outline: Outline) -> tuple[tuple[dict[str, int], ...], list[Finding]]:
    """TUNING as plain data: 1 to 8 different dicts of whole numbers with the same keys."""
    node = outline.assignment("TUNING")
    if node is None:
        return (), [
            _tuning(
                None, "expected a module-level TUNING = [{...}], got none. The first entry is the default."
            )
        ]
    if not isinstance(node, ast.List) or not 1 <= len(node.elts) <= MAX_TUNINGS:
        return (), [
            _tuning(node, f"expected a list of 1 to {MAX_TUNINGS} dicts, got {ast.unparse(node)[:60]}.")
        ]
    findings: list[Finding] = []
    entries = [_entry(item, findings) for item in node.elts]
    for index, (item, entry) in enumerate(zip(node.elts, entries, strict=True)):
        if set(entry) != set(entries[0]):
            findings.append(
                _tuning(item, f"expected the keys {sorted(entries[0])} in every entry, got {sorted(entry)}.")
            )
        elif entry in entries[:index]:
            findings.append(_tuning(item, "expected different entries, got one twice. Remove it."))
    return tuple(entries), findings


def _entry(node: ast.expr, findings: list[Finding]) -> dict[str, int]:
    if not isinstance(node, ast.Dict):
        findings.append(
            _tuning(
                node,
                f'expected a dict such as {{"CHUNK": 32, "num_warps": 4}}, got {ast.unparse(node)[:60]}.',
            )
        )
        return {}
    entry: dict[str, int] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        name = key.value if isinstance(key, ast.Constant) else None
        number = value.value if isinstance(value, ast.Constant) else None
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_") or name in entry:
            findings.append(
                _tuning(
                    key or value,
                    f"expected different names as keys, got {ast.unparse(key) if key else '**'}.",
                )
            )
        elif type(number) is not int or not _in_range(name, number):
            findings.append(
                _tuning(value, f"{name}: expected {_allowed(name)}, got {ast.unparse(value)[:60]}.")
            )
        else:
            entry[name] = number
    return entry


def _in_range(name: str, value: int) -> bool:
    if name == "num_warps":
        return value in WARPS
    return 1 <= value <= MAX_STAGES if name == "num_stages" else 0 <= value <= 65536


def _allowed(name: str) -> str:
    if name == "num_warps":
        return f"one of {list(WARPS)}"
    return (
        f"a whole number from 1 to {MAX_STAGES}" if name == "num_stages" else "a whole number from 0 to 65536"
    )


def _tuning(node: ast.AST | None, message: str) -> Finding:
    return Finding(
        rule="CON-TUNING",
        line=getattr(node, "lineno", 1),
        column=getattr(node, "col_offset", 0) + 1,
        message=f"TUNING: {message}",
    )
