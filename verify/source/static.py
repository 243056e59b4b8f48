"""The static stages in one call: PAR, POL, LCK and the static part of CON, every finding at once."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from verify.findings import Finding, Status, in_order
from verify.source.canonical import format_source
from verify.source.contract import Spec
from verify.source.identity import source_hash
from verify.source.lock import check_lock, load_skeleton, skeleton_paths
from verify.source.outline import Outline, is_jit, span
from verify.source.parse import Parsed, parse
from verify.source.policy import check_policy
from verify.source.signatures import check_functions, read_tuning
from verify.source.spec_reader import TEMPLATE, read_spec

STATIC_STAGES = ("PAR", "POL", "LCK", "CON")
Part = Literal["kernels", "wrapper", "oracle"]


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """A mechanism that passed every static stage.

    `source` is the text as given (its line numbers are those of findings), `source_hash` the SHA-256 identity
    of its canonical form; `functions` maps each top-level function to its line.
    """

    source: str
    spec: Spec
    tuning: tuple[dict[str, int], ...]
    docstring: str
    functions: dict[str, int]
    kernels: tuple[str, ...]
    has_parallel: bool
    skeleton: str | None
    source_hash: str
    family: str


@dataclass(frozen=True, kw_only=True)
class StaticResult:
    """What the static stages say. `mechanism` is None unless every one of them passed."""

    findings: tuple[Finding, ...]
    stages: dict[str, Status]
    mechanism: Mechanism | None
    canonical: bool


def check_static(
    source: bytes, *, path: str, templates: Path | None = None, require_canonical: bool = False
) -> StaticResult:
    """Judge the text of one mechanism without running it.

    `path` names the file in messages; `templates` is the folder of families (default: the repository's).
    With `require_canonical`, text that is not a fixed point of the formatter is a finding of LCK.
    """
    parsed, findings = parse(source)
    if parsed is None:
        return _unreadable(findings)
    try:
        canonical = format_source(parsed.text)
    except ValueError as error:
        return _unreadable(
            [
                Finding(
                    rule="PAR-SYNTAX",
                    line=1,
                    message=f"{path}: expected Python that every parser reads, got: {error}",
                )
            ]
        )
    outline = Outline(parsed.tree)
    spec, findings = read_spec(outline)
    tuning, more = read_tuning(outline)
    findings += more
    template = template_name(outline) or "free"
    if spec is not None:
        findings += [*check_functions(outline, spec), *_family_findings(spec, templates)]
    findings += [*check_policy(outline, spec), *_split_decorators(parsed, outline)]
    if template != "free":
        findings += check_lock(canonical, template, templates)
    if require_canonical and canonical != parsed.text:
        findings.append(_not_canonical(parsed.text, canonical))
    ordered = in_order(findings)
    free = template == "free" and not require_canonical
    mechanism = None if ordered or spec is None else _mechanism(parsed, outline, spec, tuning, canonical)
    return StaticResult(
        findings=ordered,
        stages=_stages(ordered, free=free),
        mechanism=mechanism,
        canonical=canonical == parsed.text,
    )


def read_released(source: bytes) -> Mechanism | None:
    """A released mechanism, whose text was judged and formatted when it was released, without doing so again.

    None for text that declares none.
    """
    parsed, _ = parse(source)
    if parsed is None:
        return None
    outline = Outline(parsed.tree)
    spec, _ = read_spec(outline)
    tuning, _ = read_tuning(outline)
    return None if spec is None else _mechanism(parsed, outline, spec, tuning, parsed.text)


def template_name(outline: Outline) -> str | None:
    """SPEC["template"], readable even where the rest of SPEC is not; None if it is no template's name."""
    spec = outline.assignment("SPEC")
    for key, value in zip(spec.keys, spec.values, strict=True) if isinstance(spec, ast.Dict) else ():
        if (
            isinstance(key, ast.Constant)
            and key.value == "template"
            and isinstance(value, ast.Constant)
            and isinstance(value.value, str)
        ):
            return value.value if TEMPLATE.fullmatch(value.value) else None
    return None


def blank_out(source: str, keep: Part) -> str:
    """The text with everything but one part replaced by empty lines, so that line numbers stay.

    `kernels` keeps the `@triton.jit` functions; `wrapper` forward, backward and the plain helpers they reach;
    `oracle` reference, parallel and the plain helpers they reach. `source` must be text that `parse` accepts.
    """
    outline = Outline(ast.parse(source))
    names = {"kernels": frozenset(outline.kernels), "wrapper": outline.wrapper, "oracle": outline.oracle}[
        keep
    ]
    lines = source.split("\n")
    kept = [""] * len(lines)
    for name in names:
        first, last = span(outline.functions[name])
        kept[first - 1 : last] = lines[first - 1 : last]
    return "\n".join(kept)


def _unreadable(findings: list[Finding]) -> StaticResult:
    stages: dict[str, Status] = dict.fromkeys(STATIC_STAGES, "skip")
    stages["PAR"] = "fail"
    return StaticResult(findings=in_order(findings), stages=stages, mechanism=None, canonical=False)


def _stages(findings: tuple[Finding, ...], *, free: bool) -> dict[str, Status]:
    failed = {finding.stage for finding in findings}
    stages: dict[str, Status] = {stage: "fail" if stage in failed else "pass" for stage in STATIC_STAGES}
    if free and stages["LCK"] == "pass":
        stages["LCK"] = "n/a"
    return stages


def _family_findings(spec: Spec, templates: Path | None) -> list[Finding]:
    """What a family demands of a SPEC: slots only with a skeleton, and a state where that has one."""
    if spec.skeleton is None:
        return (
            [
                Finding(
                    rule="CON-SLOTS",
                    line=1,
                    message="expected no slots in a free mechanism, got "
                    f"{sorted(spec.slots)}. Remove them or name a skeleton.",
                )
            ]
            if spec.slots
            else []
        )
    paths = skeleton_paths(templates)
    if (
        spec.skeleton in paths
        and not spec.state
        and load_skeleton(paths[spec.skeleton], spec.skeleton).spec.state
    ):
        return [
            Finding(
                rule="CON-STATE",
                line=1,
                message=f"expected the state of {spec.skeleton}, got none. The family {spec.family} "
                "carries state.",
            )
        ]
    return []


def _split_decorators(parsed: Parsed, outline: Outline) -> list[Finding]:
    """Decorators that are not one whole line; `blank_out` cuts functions out by lines."""
    lines = parsed.text.split("\n")
    marks = [mark for node in outline.functions.values() for mark in node.decorator_list]
    return [
        Finding(
            rule="POL-DECORATOR",
            line=mark.lineno,
            column=1,
            message=f"expected @triton.jit on a line of its own, got {lines[mark.lineno - 1][:60]!r}.",
        )
        for mark in marks
        if is_jit(mark) and lines[mark.lineno - 1].split("#")[0].rstrip() != "@triton.jit"
    ]


def _not_canonical(text: str, canonical: str) -> Finding:
    pairs = zip(text.split("\n"), canonical.split("\n"), strict=False)
    line = next((number for number, pair in enumerate(pairs, start=1) if pair[0] != pair[1]), 1)
    want = [*canonical.split("\n"), ""][line - 1]
    return Finding(
        rule="LCK-NOT-CANONICAL",
        line=line,
        message=f"expected the canonical form, here {want[:120]!r}, got "
        f"{text.split(chr(10))[line - 1][:120]!r}. Format the file.",
    )


def _mechanism(
    parsed: Parsed, outline: Outline, spec: Spec, tuning: tuple[dict[str, int], ...], canonical: str
) -> Mechanism:
    return Mechanism(
        source=parsed.text,
        spec=spec,
        tuning=tuning,
        docstring=outline.docstring,
        functions={name: node.lineno for name, node in outline.functions.items()},
        kernels=outline.kernels,
        has_parallel="parallel" in outline.plain,
        skeleton=spec.skeleton,
        source_hash=source_hash(canonical.encode()),
        family=spec.family,
    )
