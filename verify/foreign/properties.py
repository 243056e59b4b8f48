"""PRP: causal, the same at any length, independent in the batch, resumable, the same packed or apart.

Every property says that a function and a changed form of it agree: the reference with its suffix replaced
gives the same prefix, two segments with the state handed on give the whole. So each is judged like a case:
the changed form of the library against the plain form of the reference, with gradients, under the usual
tolerance. First the reference itself must agree with its changed form in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from verify.dtypes import Float64
from verify.foreign.cases import Outcome, check
from verify.foreign.draws import draw_tensors
from verify.foreign.library import Refused, Settings, run
from verify.foreign.notes import Note
from verify.foreign.reference import evaluate, known, outputs_of
from verify.foreign.spec import BrokenSpec, Case, Resume, Spec

Function = Callable[..., Any]
Change = Callable[[Function], Function]
EXACT = 1e-9
LARGE = 1000.0
"""An altered suffix is drawn at scale 1 and at this one, where the reference stays finite in float32."""

_BATCH = ("B", "N")


@dataclass(frozen=True, kw_only=True)
class Question:
    """`changed` of the library must give what `plain` of the reference gives; `label` names it in notes."""

    rule: str
    label: str
    case: Case
    changed: Change
    plain: Change


def questions(spec: Spec) -> list[Question]:
    """Everything that the spec's properties ask, in order."""
    asked = spec.properties
    if asked is None:
        return []
    found: list[Question] = []
    case = asked.case
    length = case.size_map.get("T", 0)
    if asked.causal:
        for cut in _cuts(length):
            found += _causal(spec, case, cut)
    if asked.batch:
        found.append(_batch(spec, case))
    if asked.resume is not None:
        resumed = replace(case, options={**case.options, **asked.resume.options})
        found += [_resume(spec, resumed, asked.resume, cut) for cut in asked.resume.cuts if 0 < cut < length]
    if asked.chunks is not None:
        option, values = asked.chunks
        found += [_chunks(case, option, value) for value in values]
    if asked.packed is not None:
        found.append(_packed(spec, case, asked.packed))
    return found


def _cuts(length: int) -> tuple[int, ...]:
    """One cut inside a block and one at the border of a block of 64, where there is one."""
    return tuple(cut for cut in dict.fromkeys((length // 3, 64)) if 0 < cut < length)


def ask(spec: Spec, question: Question) -> Outcome:
    """Judge one property. Raises BrokenSpec where the reference has not got it."""
    outcome, case = Outcome(shown={"PRP"}), question.case
    dtype = spec.case_dtypes(case)[0]
    label = f"{question.label}, {dtype}"
    derived = replace(
        spec,
        call=question.changed(spec.call),
        reference=question.plain(spec.reference),
    )
    tensors = draw_tensors(spec, case, dtype)
    truth = known(derived, case, tensors, dtype)
    weights = {name: tensor.values for name, tensor in truth.cotangents.items()}
    moved = evaluate(replace(derived, reference=question.changed(spec.reference)), case, tensors, weights)
    for name, expected in truth.truths.items():
        size = max(_rms(expected.oracle), _rms(moved[name]), expected.terms)
        if not _rms(moved[name] - expected.oracle) <= EXACT * size:
            raise BrokenSpec(
                f"property {question.label!r}: {name} of the reference has not got it, in float64; expected "
                "the same value. Correct the reference, or do not declare the property"
            )
    settings = Settings(exact=dtype == "float32" and spec.dot_precision == "ieee", sanitizer=False)
    try:
        ran = run(derived, case, tensors, truth.cotangents, settings)
    except Refused as refused:
        outcome.notes.append(Note(rule=question.rule, case=label, message=str(refused)))
        return outcome
    held = Outcome()
    check(spec, ran, truth, dtype, label, held)
    outcome.ratios = held.ratios
    outcome.notes += [replace(note, rule=question.rule) for note in held.notes]
    return outcome


def _rms(values: Float64) -> float:
    return float(np.sqrt(np.mean(values * values))) if values.size else 0.0


# -- changes of a function -----------------------------------------------------------------------------------


def _part(tensor: Any, axes: tuple[str, ...], names: tuple[str, ...], span: slice) -> Any:
    """The span of every axis with one of these names."""
    return tensor[tuple(span if axis in names else slice(None) for axis in axes)]


def _keep(spec: Spec, case: Case, names: tuple[str, ...], span: slice) -> Change:
    """The span of each output; outputs without such an axis are dropped."""

    def change(function: Function) -> Function:
        def kept(**arguments: Any) -> tuple[Any, ...]:
            outputs = outputs_of(spec, case, function(**arguments))
            return tuple(
                _part(outputs[one.name], one.axes, names, span)
                if one.name in outputs and set(names) & set(one.axes)
                else None
                for one in spec.outputs
            )

        return kept

    return change


def _others_replaced(
    spec: Spec, case: Case, names: tuple[str, ...], span: slice, label: str, scale: float
) -> Change:
    """All but the span of each input is other data, `scale` times as large where it is normal."""
    dtype = spec.case_dtypes(case)[0]
    other = draw_tensors(spec, replace(case, layout="dense"), dtype, label=label)
    domains = {one.name: one.domain for one in spec.inputs}
    axes = {one.name: one.axes for one in spec.inputs if set(names) & set(one.axes)}

    def change(function: Function) -> Function:
        def replaced(**arguments: Any) -> Any:
            for name in axes.keys() & arguments.keys():
                if domains[name] in ("offsets", "segments"):
                    continue
                mine = arguments[name]
                factor = scale if domains[name] == "normal" else 1.0
                new = torch.from_numpy(np.array(other[name].values) * factor).to(mine.dtype)
                mask = torch.zeros(mine.shape, dtype=torch.bool)
                _part(mask, axes[name], names, span)[...] = True
                arguments[name] = torch.where(mask, mine, new)
            return function(**arguments)

        return replaced

    return change


def _only(spec: Spec, names: tuple[str, ...], span: slice) -> Change:
    """The function on the span of its inputs."""
    axes = {one.name: one.axes for one in spec.inputs}

    def change(function: Function) -> Function:
        def shorter(**arguments: Any) -> Any:
            return function(
                **{
                    name: _part(value, axes[name], names, span) if name in axes else value
                    for name, value in arguments.items()
                }
            )

        return shorter

    return change


def _causal(spec: Spec, case: Case, cut: int) -> Iterator[Question]:
    span = slice(0, cut)
    keep = _keep(spec, case, ("T",), span)
    for scale in (1.0, LARGE):
        replaced = _others_replaced(spec, case, ("T",), span, "suffix", scale)
        if scale != 1.0 and not _stands(replace(spec, reference=replaced(spec.reference)), case):
            continue
        yield Question(
            rule="PRP-CAUSAL",
            label=f"other tokens from {cut} on, at scale {scale:g}",
            case=case,
            changed=_after(replaced, keep),
            plain=keep,
        )
    shorter = _only(spec, ("T",), span)
    drop = _keep(spec, case, ("T",), slice(None))
    yield Question(
        rule="PRP-PREFIX",
        label=f"only {cut} tokens",
        case=case,
        changed=_after(shorter, drop),
        plain=keep,
    )


def _stands(spec: Spec, case: Case) -> bool:
    """Whether the reference stays finite in float32 there."""
    tensors = draw_tensors(spec, case, spec.case_dtypes(case)[0])
    found = evaluate(spec, case, tensors, {}, dtype=torch.float32)
    return all(np.isfinite(values).all() for values in found.values())


def _batch(spec: Spec, case: Case) -> Question:
    span = slice(0, 1)
    keep = _keep(spec, case, _BATCH, span)
    replaced = _others_replaced(spec, case, _BATCH, span, "batch", 1.0)
    return Question(
        rule="PRP-BATCH",
        label="other entries of the batch",
        case=case,
        changed=_after(replaced, keep),
        plain=keep,
    )


def _resume(spec: Spec, case: Case, resume: Resume, cut: int) -> Question:
    length = case.size_map["T"]
    head, tail = _only(spec, ("T",), slice(0, cut)), _only(spec, ("T",), slice(cut, length))

    def change(function: Function) -> Function:
        def halves(**arguments: Any) -> tuple[Any, ...]:
            first = outputs_of(spec, case, head(function)(**arguments))
            handed = {**arguments, resume.input: first[resume.output]}
            second = outputs_of(spec, case, tail(function)(**handed))
            return tuple(
                None
                if one.name not in second
                else torch.cat([first[one.name], second[one.name]], dim=one.axes.index("T"))
                if "T" in one.axes
                else second[one.name]
                for one in spec.outputs
            )

        return halves

    return Question(
        rule="PRP-RESUME", label=f"split after {cut} tokens", case=case, changed=change, plain=_same
    )


def _chunks(case: Case, option: str, value: int) -> Question:
    def change(function: Function) -> Function:
        def other(**arguments: Any) -> Any:
            return function(**{**arguments, option: value})

        return other

    return Question(rule="PRP-CHUNK", label=f"{option} {value}", case=case, changed=change, plain=_same)


def _packed(spec: Spec, case: Case, offsets: str) -> Question:
    """The case's tokens as ragged sequences, packed into one row; alone, the reference takes one by one."""
    length = case.size_map["T"]
    lengths = tuple(n for n in (1, 15, length // 2, max(1, length - 16 - length // 2)) if n)
    packed = replace(
        case,
        name=f"{case.name} packed",
        sizes={**case.sizes, "B": 1},
        lengths=lengths,
        given=tuple(dict.fromkeys((*case.given, offsets))),
    )

    def apart(function: Function) -> Function:
        def each(**arguments: Any) -> tuple[Any, ...]:
            borders = [int(border) for border in arguments.pop(offsets)]
            parts = []
            for number, (start, end) in enumerate(pairwise(borders)):
                alone = _only(spec, ("T",), slice(start, end))(
                    _only(spec, ("N",), slice(number, number + 1))(function)
                )
                parts.append(outputs_of(spec, packed, alone(**arguments)))
            return tuple(
                torch.cat(
                    [part[one.name] for part in parts], dim=one.axes.index("T" if "T" in one.axes else "N")
                )
                if one.name in parts[0]
                else None
                for one in spec.outputs
            )

        return each

    return Question(
        rule="PRP-PACKED",
        label=f"packed sequences of {', '.join(map(str, lengths))}",
        case=packed,
        changed=_same,
        plain=apart,
    )


def _after(first: Change, second: Change) -> Change:
    return lambda function: second(first(function))


def _same(function: Function) -> Function:
    return function
