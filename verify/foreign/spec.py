"""What a spec file declares: a callable, a reference written by us, inputs with domains, and cases.

    SPEC = Spec(name="mine", requires=("mylib==1.2.*",), call=call, reference=reference, inputs=(...), ...)

Everything is checked when it is made; a mistake raises BrokenSpec, which names the field and the fix.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Domain = Literal[
    "normal",
    "unit_norm",
    "log_decay",
    "log_sigmoid",
    "unit_interval",
    "positive",
    "angle",
    "index",
    "boolean",
    "offsets",
    "segments",
]
"""`offsets` are the borders of packed sequences, (N+1,); `segments` are each token's sequence, (B, T). Both
come from `Case.lengths`. The rest is drawn: see `verify.foreign.draws`."""

INTEGER_DOMAINS = ("index", "boolean", "offsets", "segments")
Depth = Literal["quick", "full"]
LayoutKind = Literal["dense", "transposed", "gapped", "tail", "unaligned"]
"""`transposed` swaps dimensions 1 and 2 in memory; `gapped` has NaN after every row, `tail` only around the
whole tensor; `unaligned` starts one element off a multiple of 16 bytes."""
CotangentKind = Literal["dense", "transposed", "gapped", "expanded", "one_hot", "zero"]
Gate = Literal["typical", "strong", "none"]
DeviationKind = Literal["defect", "design", "precision"]
DTYPES = ("float32", "bfloat16", "float16")
STATE_DTYPES = (*DTYPES, "float64", "int32", "int64", "bool", "io")


class BrokenSpec(Exception):
    """The spec file is wrong; it says nothing about the library. The message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """One tensor argument of `call` and `reference`, by name.

    `dims` are symbols, integers, or sums and products of them, as "B T H K" or "N+1". `dtype` "io" is the
    run's. Values are `shift + scale * draw(domain)`. An `optional` one is passed only where a case has it
    in `given`. `bound` ends the range of an `index`: an integer or a symbol.
    """

    name: str
    dims: str
    domain: Domain = "normal"
    dtype: str = "io"
    optional: bool = False
    differentiable: bool = True
    scale: float = 1.0
    shift: float = 0.0
    bound: int | str = 16

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(self.dims.split())

    @property
    def moves(self) -> bool:
        """Whether there is a gradient by it."""
        return self.differentiable and self.domain not in INTEGER_DOMAINS


@dataclass(frozen=True, kw_only=True)
class Output:
    """One result, in the order of what `call` and `reference` return. `state` makes it a NUM-STATE where
    wrong.
    """

    name: str
    dims: str
    dtype: str = "io"
    state: bool = False
    differentiable: bool = True

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(self.dims.split())


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run: sizes of the symbols, options (keywords for both functions), and how the tensors lie.

    `lengths` packs sequences: T becomes their sum and N their number. `needs` names the inputs that take
    gradients (None: all). `far` names an input whose tokens (or rows) lie so far apart in memory that the
    last ones are beyond 2^31 elements; no page of what is between is ever made. `dtypes` None means all of
    the spec's; properties are asked in the first.
    """

    name: str
    sizes: Mapping[str, int]
    options: Mapping[str, Any] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    layout: LayoutKind = "dense"
    cotangent: CotangentKind = "dense"
    gate: Gate = "typical"
    scale: float = 1.0
    dtypes: tuple[str, ...] | None = None
    needs: tuple[str, ...] | None = None
    far: str | None = None
    backward: bool = True
    depth: Depth = "full"

    @property
    def size_map(self) -> dict[str, int]:
        sizes = dict(self.sizes)
        if self.lengths:
            sizes |= {"T": sum(self.lengths), "N": len(self.lengths)}
        return sizes


@dataclass(frozen=True, kw_only=True)
class Resume:
    """How a sequence is cut in two: the state that `output` holds enters as `input`; `options` ask for it."""

    input: str
    output: str
    options: Mapping[str, Any] = field(default_factory=dict)
    cuts: tuple[int, ...] = (17, 64)


@dataclass(frozen=True, kw_only=True)
class Properties:
    """What PRP asks. `case` has T and B of at least 2. What is not declared is `n/a`, never passed.

    `chunks` is (option, values): results must not depend on it. `packed` names the `offsets` input: packed
    sequences must give what each gives alone.
    """

    case: Case
    causal: bool = False
    batch: bool = False
    resume: Resume | None = None
    chunks: tuple[str, tuple[int, ...]] | None = None
    packed: str | None = None


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """A finding that is known, and why. It matches by rule, and by texts that occur in case and message.

    A `defect` of the library keeps its stage failed; what is by `design`, or a matter of `precision`, does
    not. `where` says where it comes from: file, line, and the smallest case.
    """

    rule: str
    kind: DeviationKind
    why: str
    where: str
    case: str = ""
    message: str = ""

    def matches(self, rule: str, case: str, message: str) -> bool:
        return rule == self.rule and self.case in case and self.message in message


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One operator of a library. `call(**tensors, **options)` runs it; `reference` is the definition.

    Both return a tensor or a tuple in the order of `outputs` (None where an option leaves one out). The
    reference gets float64 tensors and is plain PyTorch. `requires` are versions that must be installed.
    `dot_precision` "tf32" says that the library asks for TF32 in float32 by itself. `slack` multiplies the
    judge's tolerance for a dtype, and `slack_why` says for what reason. `compile_case` is what CMP and THR
    speak about: a usual shape in bfloat16. A launch of more than `loop_steps` steps is taken for a hang.
    Raises BrokenSpec.
    """

    name: str
    call: Callable[..., Any]
    reference: Callable[..., Any]
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    cases: tuple[Case, ...]
    requires: tuple[str, ...] = ()
    source: str = ""
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    dot_precision: Literal["ieee", "tf32"] = "ieee"
    slack: Mapping[str, float] = field(default_factory=dict)
    slack_why: str = ""
    properties: Properties | None = None
    compile_case: Case | None = None
    deviations: tuple[Deviation, ...] = ()
    loop_steps: int = 1 << 18

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise BrokenSpec(f"{self.name}: {problem}")

    def case_inputs(self, case: Case) -> tuple[Input, ...]:
        """The inputs that this case passes."""
        return tuple(one for one in self.inputs if not one.optional or one.name in case.given)

    def case_dtypes(self, case: Case) -> tuple[str, ...]:
        return case.dtypes or self.dtypes

    @property
    def differentiable(self) -> bool:
        """Whether anything has a gradient, so that GRD applies."""
        return any(one.moves for one in self.inputs) and any(one.differentiable for one in self.outputs)


def _problems(spec: Spec) -> list[str]:
    """Everything that is wrong with a spec, as sentences: expected x, got y."""
    entries: list[Input | Output] = [*spec.inputs, *spec.outputs]
    names = [one.name for one in entries]
    found = [f"expected one use of each name, got {name!r} twice" for name in names if names.count(name) > 1]
    if not spec.cases or not spec.inputs or not spec.outputs:
        found.append("expected at least one input, one output and one case. Add what is missing")
    found += [
        f"{one.name}: expected dtype one of {', '.join(STATE_DTYPES)}, got {one.dtype!r}"
        for one in entries
        if one.dtype not in STATE_DTYPES
    ]
    unknown = [name for name in (*spec.dtypes, *spec.slack) if name not in DTYPES]
    found += [f"expected dtypes among {', '.join(DTYPES)}, got {name!r}" for name in unknown]
    if spec.slack and not spec.slack_why:
        found.append("slack: expected slack_why to say for what reason the tolerance is wider")
    labels = [case.name for case in spec.cases]
    found += [
        f"expected one case of each name, got {name!r} twice" for name in labels if labels.count(name) > 1
    ]
    for case in _all_cases(spec):
        found += [f"case {case.name!r}: {problem}" for problem in _case_problems(spec, case)]
    return found


def _all_cases(spec: Spec) -> list[Case]:
    more = [] if spec.properties is None else [spec.properties.case]
    return [*spec.cases, *more, *([] if spec.compile_case is None else [spec.compile_case])]


def _case_problems(spec: Spec, case: Case) -> list[str]:
    optional = {one.name for one in spec.inputs if one.optional}
    found = [f"given: expected optional inputs, got {name!r}" for name in case.given if name not in optional]
    inputs = {one.name: one for one in spec.case_inputs(case)}
    if case.far is not None and case.far not in inputs:
        found.append(f"far: expected an input of the case, got {case.far!r}")
    found += [f"needs: expected inputs of the case, got {n!r}" for n in case.needs or () if n not in inputs]
    packed = [one.name for one in inputs.values() if one.domain in ("offsets", "segments")]
    if packed and not case.lengths:
        found.append(f"{packed[0]} is given: expected `lengths` of the packed sequences")
    entries: list[Input | Output] = [*inputs.values(), *spec.outputs]
    for entry in entries:
        if isinstance(entry, Output) and entry.state:
            continue  # a state's sizes may be those of an option that this case leaves out
        try:
            shape_of(entry.axes, case.size_map)
        except BrokenSpec as broken:
            found.append(f"{entry.name}: {broken}")
    return found


def shape_of(axes: tuple[str, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape that `axes` have at `sizes`. Raises BrokenSpec for an unknown symbol or a negative size."""
    shape = tuple(size_of(axis, sizes) for axis in axes)
    if any(size < 0 for size in shape):
        raise BrokenSpec(f"expected sizes of at least 0, got {shape} for {' '.join(axes)}")
    return shape


def size_of(text: str, sizes: Mapping[str, int]) -> int:
    """An expression of + - * // over symbols and integers, such as "N+1" or "D//2". Raises BrokenSpec."""
    try:
        return _value(ast.parse(text, mode="eval").body, sizes)
    except (SyntaxError, KeyError, ZeroDivisionError) as error:
        known = ", ".join(sorted(sizes))
        raise BrokenSpec(f"expected a size over {known}, got {text!r} ({error})") from None


def _value(node: ast.expr, sizes: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int() as number):
            return number
        case ast.Name(id=name):
            return sizes[name]
        case ast.BinOp(left=left, op=op, right=right):
            x, y = _value(left, sizes), _value(right, sizes)
            match op:
                case ast.Add():
                    return x + y
                case ast.Sub():
                    return x - y
                case ast.Mult():
                    return x * y
                case ast.FloorDiv():
                    return x // y
    raise SyntaxError("only names, integers, + - * //")
