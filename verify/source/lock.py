"""The lock: outside of what a skeleton frees, a candidate is that skeleton, character for character.

Free are the bodies of slot functions, the module's docstring, and the value of TUNING. A text is split into
its top-level statements, the free part is cut off each, and the rest must equal the skeleton's. The
skeleton's own SPEC says which functions are slots, so a candidate cannot free more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import libcst as cst

from verify.findings import Finding
from verify.source.contract import Spec
from verify.source.literals import nearest
from verify.source.outline import Outline
from verify.source.parse import parse, parse_module
from verify.source.spec_reader import read_spec

DEFAULT_TEMPLATES = Path(__file__).resolve().parents[2] / "templates"


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A released skeleton: its name ("linear_state/v1/token_decay"), text and contract."""

    name: str
    text: str
    spec: Spec


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The locked part of one top-level statement, and the line at which the statement's text starts."""

    key: str
    text: str
    line: int


def skeleton_paths(templates: Path | None = None) -> dict[str, Path]:
    """Every skeleton under a folder of families, by name, sorted."""
    root = templates or DEFAULT_TEMPLATES
    paths = sorted(path for path in root.glob("*/v*/*.py") if not path.name.startswith("_"))
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in paths}


def load_skeleton(path: Path, name: str) -> Skeleton:
    """Read a skeleton. Raises ValueError if it does not even parse: that is our bug, not a candidate's."""
    text = path.read_text(encoding="utf-8")
    parsed, findings = parse(text.encode())
    spec, more = read_spec(Outline(parsed.tree)) if parsed is not None else (None, [])
    if spec is None:
        raise ValueError(f"skeleton {name}: {[finding.render(str(path)) for finding in (*findings, *more)]}")
    return Skeleton(name=name, text=text, spec=spec)


def check_lock(text: str, template: str, templates: Path | None = None) -> list[Finding]:
    """What differs from the skeleton named `template` outside of its slots; lines are those of `text`."""
    paths = skeleton_paths(templates)
    if template not in paths:
        return [
            Finding(
                rule="LCK-SKELETON",
                line=1,
                message=f"expected a released skeleton, got {template!r}. {nearest(template, paths)}",
            )
        ]
    skeleton = load_skeleton(paths[template], template)
    slots = frozenset(name for names in skeleton.spec.slots.values() for name in names)
    expected, got = segments(skeleton.text, slots), segments(text, slots)
    if lock_hash(expected) == lock_hash(got):
        return []
    return list(_differences(expected, got, skeleton))


@lru_cache(maxsize=16)
def segments(text: str, slots: frozenset[str]) -> tuple[Segment, ...]:
    """The locked parts of a text in order, where `slots` names the functions with free bodies."""
    module = parse_module(text)
    head = "".join(module.code_for_node(line) for line in module.header)
    found = [Segment(key="the head of the file", text=head, line=1)]
    line = head.count("\n") + 1
    for index, node in enumerate(module.body):
        whole = module.code_for_node(node)
        if not (index == 0 and _is_text(node)):
            found.append(Segment(key=_key(node, whole), text=_locked(module, node, whole, slots), line=line))
        line += whole.count("\n")
    foot = "".join(module.code_for_node(part) for part in module.footer)
    return (*found, Segment(key="the end of the file", text=foot, line=line))


def lock_hash(parts: Iterable[Segment]) -> str:
    """SHA-256 (hex) over the length-prefixed locked parts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.text.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def _is_text(node: cst.CSTNode) -> bool:
    first = node.body[0] if isinstance(node, cst.SimpleStatementLine) and len(node.body) == 1 else None
    return isinstance(first, cst.Expr) and isinstance(first.value, cst.SimpleString | cst.ConcatenatedString)


def _key(node: cst.CSTNode, whole: str) -> str:
    if isinstance(node, cst.FunctionDef):
        return f"def {node.name.value}"
    return f"{name} = ..." if (name := _assigned(node)) else whole.strip().split("\n", maxsplit=1)[0][:60]


def _assigned(node: cst.CSTNode) -> str | None:
    first = node.body[0] if isinstance(node, cst.SimpleStatementLine) and len(node.body) == 1 else None
    if (
        isinstance(first, cst.Assign)
        and len(first.targets) == 1
        and isinstance(first.targets[0].target, cst.Name)
    ):
        return first.targets[0].target.value
    return None


def _locked(module: cst.Module, node: cst.CSTNode, whole: str, slots: frozenset[str]) -> str:
    """The statement's text up to its free part: a slot's body or the value of TUNING end the statement."""
    if isinstance(node, cst.FunctionDef) and node.name.value in slots:
        return whole.removesuffix(module.code_for_node(node.body)) + "\n"
    if _assigned(node) == "TUNING":
        return whole[: whole.index("TUNING") + len("TUNING")] + " = ...\n"
    return whole


def _differences(
    expected: Sequence[Segment], got: Sequence[Segment], skeleton: Skeleton
) -> Iterator[Finding]:
    there, here = {part.key: part for part in expected}, {part.key: part for part in got}
    for part in got:
        if part.key not in there:
            yield Finding(
                rule="LCK-ADDED",
                line=part.line + _blank(part.text),
                message=f"expected only what {skeleton.name} has, got {part.key!r}. "
                "Only slot bodies, the docstring and TUNING are free; write it inside of a slot.",
            )
        elif here[part.key] is not part:
            yield Finding(
                rule="LCK-ADDED",
                line=part.line + _blank(part.text),
                message=f"expected {part.key!r} once, got it twice. Remove one.",
            )
    for part in expected:
        if part.key not in here:
            yield Finding(
                rule="LCK-MISSING",
                line=1,
                message=f"expected {part.key!r} as in {skeleton.name}, got none. Put it back.",
            )
        elif here[part.key].text != part.text:
            yield _first_difference(part, here[part.key], skeleton)
    common = [part.key for part in expected if part.key in here]
    order = [part.key for part in got if part.key in there]
    if sorted(common) == sorted(order) and common != order:
        key = next(mine for mine, theirs in zip(order, common, strict=True) if mine != theirs)
        yield Finding(
            rule="LCK-ORDER",
            line=here[key].line + _blank(here[key].text),
            message=f"expected the order of {skeleton.name}, got {key!r} here. Put the parts back in order.",
        )


def _first_difference(expected: Segment, got: Segment, skeleton: Skeleton) -> Finding:
    theirs, mine = expected.text.split("\n"), got.text.split("\n")
    index = next(
        (i for i, pair in enumerate(zip(theirs, mine, strict=False)) if pair[0] != pair[1]),
        min(len(theirs), len(mine)),
    )
    want = theirs[index] if index < len(theirs) else "the end"
    have = mine[index] if index < len(mine) else "the end"
    return Finding(
        rule="LCK-CHANGED",
        line=got.line + index,
        message=f"{expected.key!r} is locked by {skeleton.name}: expected {want[:160]!r}, got "
        f"{have[:160]!r}. Only slot bodies, the docstring and TUNING are free.",
    )


def _blank(text: str) -> int:
    """Empty lines before the first one that says something."""
    return len(text) - len(text.lstrip("\n"))
