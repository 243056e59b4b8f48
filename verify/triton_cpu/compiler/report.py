"""The compile report of one kernel on one target, as data: what `compile` fills in and the judge reads.

A report crosses from a process that compiled hostile code, so `CompileReport.from_json` trusts nothing.
Whether a kernel fits is derived here from the numbers, on this side. Imports neither torch nor Triton.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from verify.triton_cpu.compiler.census import GROUPS
from verify.triton_cpu.compiler.program import Dot
from verify.triton_cpu.compiler.targets import FACTS, TARGETS, Limit, Occupancy, Target, exceeded, occupancy

MESSAGE_CHARACTERS = 2000
_MOST = 1 << 40
_MOST_NAMES = 512
_NAME_CHARACTERS = 200


class ReportError(ValueError):
    """A compile report that does not keep its form; the message says where and what was expected."""


@dataclass(frozen=True, kw_only=True)
class Try:
    """One other configuration. `fits` only where it compiled; the bytes are then its own."""

    num_warps: int
    num_stages: int
    fits: bool
    shared_bytes: int
    spill_bytes: int


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What was tried for a kernel in trouble, and `text`: one sentence that says what came of it."""

    tried: tuple[Try, ...]
    text: str


@dataclass(frozen=True, kw_only=True)
class CompileReport:
    """One kernel on one target. `error` is None where it compiled; the numbers are 0 where it did not.

    `shared_bytes` is per block; `registers`, `stack_bytes` and `spill_bytes` are per thread (gfx942: per
    lane, vector registers of both kinds); `tensor_columns` are per block. `options` are launch options beside
    warps and stages (num_ctas, maxnreg, ...), `ignored` those that the target's compiler does not know.
    `index` is `program.index_widths`, `tensor_units` the tensor-core instructions by kind, `census` (None
    where it was not asked for) the instructions by group. `warnings` are the assembler's; `advice` is there
    where the kernel was compiled in other configurations too. `line` is the launch's line (a recorded launch:
    the kernel's), `launches` how many launches have this specialisation. `seconds` is how long compiling
    took, and the only field that is not the same again from the same source.
    """

    kernel: str
    target: Target
    num_warps: int
    num_stages: int
    options: Mapping[str, int | str | bool] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    shared_bytes: int = 0
    registers: int = 0
    stack_bytes: int = 0
    spill_bytes: int = 0
    tensor_columns: int = 0
    dots: tuple[Dot, ...] = ()
    index: Mapping[str, int] = field(default_factory=dict)
    tensor_units: Mapping[str, int] = field(default_factory=dict)
    census: Mapping[str, Mapping[str, int]] | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    advice: Advice | None = None
    line: int = 0
    launches: int = 1
    seconds: float = field(default=0.0, compare=False)

    @property
    def dot_precision(self) -> frozenset[str]:
        """The input precision of every dot with float32 operands ("ieee", "tf32", ...); empty without one."""
        return frozenset(dot.precision for dot in self.dots if dot.precision is not None)

    @property
    def occupancy(self) -> Occupancy | None:
        """How many blocks a multiprocessor holds; None for a kernel that did not compile."""
        if self.error is not None:
            return None
        return occupancy(
            self.target,
            registers=self.registers,
            shared_bytes=self.shared_bytes,
            num_warps=self.num_warps,
            tensor_columns=self.tensor_columns,
        )

    @property
    def exceeded(self) -> Mapping[Limit, str]:
        """Limits of the target that one block goes over: "shared", "threads", "tensor" -> what it needs."""
        return exceeded(
            self.target,
            shared_bytes=self.shared_bytes,
            num_warps=self.num_warps,
            tensor_columns=self.tensor_columns,
        )

    @property
    def fits(self) -> bool:
        """It compiles, and one block can run."""
        return self.error is None and not self.exceeded

    def to_json(self) -> dict[str, Any]:
        """Every field, in JSON's types; what is derived is left out."""
        data = asdict(self)
        data["dots"] = list(data["dots"])
        if self.advice is not None:
            data["advice"]["tried"] = list(data["advice"]["tried"])
        data |= {"ignored": list(self.ignored), "warnings": list(self.warnings)}
        return data

    def shown(self, *, seconds: bool = False) -> dict[str, Any]:
        """For documents: the fields, and what follows from them; `seconds` only where it is asked for."""
        data = self.to_json()
        if not seconds:
            del data["seconds"]
        fit = self.occupancy
        data["occupancy"] = None if fit is None else {**asdict(fit), "percent": fit.percent}
        data["dot_precision"] = sorted(self.dot_precision)
        data["over_limits"] = sorted(self.exceeded.values())
        data["shared_limit_bytes"] = FACTS[self.target].shared_block_bytes
        return data

    @classmethod
    def from_json(cls, data: Any) -> CompileReport:
        """Check and build a report from untrusted JSON. Raises ReportError."""
        if not isinstance(data, dict) or set(data) != _FIELDS:
            got = sorted(data) if isinstance(data, dict) else type(data).__name__
            raise ReportError(f"compile report: expected the fields {sorted(_FIELDS)}, got {got}")
        if data["target"] not in TARGETS:
            raise ReportError(f"target: expected one of {TARGETS}, got {data['target']!r}")
        numbers = {name: _integer(data[name], name) for name in _NUMBERS}
        if not numbers["num_warps"]:
            raise ReportError("num_warps: expected at least 1, got 0")
        seconds = data["seconds"]
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < _MOST:
            raise ReportError(f"seconds: expected a time, got {seconds!r}")
        return cls(
            kernel=_text(data["kernel"], "kernel"),
            target=data["target"],
            options=_options(data["options"]),
            ignored=tuple(_text(name, "ignored") for name in _list(data["ignored"], "ignored")),
            dots=tuple(_dot(row) for row in _list(data["dots"], "dots")),
            index=_counts(data["index"], "index"),
            tensor_units=_counts(data["tensor_units"], "tensor_units"),
            census=census_from_json(data["census"]),
            warnings=tuple(
                _text(text, "warnings", MESSAGE_CHARACTERS) for text in _list(data["warnings"], "warnings")
            ),
            error=None if data["error"] is None else _text(data["error"], "error", MESSAGE_CHARACTERS),
            advice=None if data["advice"] is None else _advice(data["advice"]),
            seconds=float(seconds),
            **numbers,
        )

    def placed(self, *, line: int, launches: int) -> CompileReport:
        """The same report, for so many launches, the first of them at that line."""
        return replace(self, line=line, launches=launches)


_NUMBERS = (
    *("num_warps", "num_stages", "shared_bytes", "registers", "stack_bytes", "spill_bytes"),
    *("tensor_columns", "line", "launches"),
)
_FIELDS = {
    *_NUMBERS,
    *("kernel", "target", "options", "ignored", "dots", "index", "tensor_units", "census", "warnings"),
    *("error", "advice", "seconds"),
}


def _integer(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise ReportError(f"{what}: expected an integer from 0 to {_MOST}, got {value!r}")
    return value


def _text(value: Any, what: str, most: int = _NAME_CHARACTERS) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ReportError(f"{what}: expected at most {most} characters, got {type(value).__name__}")
    if most == _NAME_CHARACTERS and not value.isprintable():
        raise ReportError(f"{what}: expected a printable name, got {value!r}")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MOST_NAMES:
        raise ReportError(f"{what}: expected a list of at most {_MOST_NAMES} items")
    return value


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > _MOST_NAMES:
        raise ReportError(f"{what}: expected an object of at most {_MOST_NAMES} keys")
    return {_text(key, what): item for key, item in value.items()}


def _counts(value: Any, what: str) -> dict[str, int]:
    return {key: _integer(item, what) for key, item in _object(value, what).items()}


def _options(value: Any) -> dict[str, int | str | bool]:
    options = _object(value, "options")
    for name, item in options.items():
        if not isinstance(item, int | str) or (isinstance(item, str) and len(item) > _NAME_CHARACTERS):
            raise ReportError(f"options: expected a number or a word for {name}, got {item!r}")
    return options


def _dot(value: Any) -> Dot:
    row = _object(value, "dots")
    if set(row) != {"left", "right", "result", "precision", "scaled", "count"}:
        raise ReportError(f"dots: expected a dot's fields, got {sorted(row)}")
    if not isinstance(row["scaled"], bool):
        raise ReportError(f"dots: expected true or false for scaled, got {row['scaled']!r}")
    return Dot(
        left=_text(row["left"], "dots"),
        right=_text(row["right"], "dots"),
        result=_text(row["result"], "dots"),
        precision=None if row["precision"] is None else _text(row["precision"], "dots"),
        scaled=row["scaled"],
        count=_integer(row["count"], "dots"),
    )


def _advice(value: Any) -> Advice:
    data = _object(value, "advice")
    if set(data) != {"tried", "text"}:
        raise ReportError(f"advice: expected tried and text, got {sorted(data)}")
    tried = []
    for item in _list(data["tried"], "advice"):
        one = _object(item, "advice")
        if set(one) != {"num_warps", "num_stages", "fits", "shared_bytes", "spill_bytes"}:
            raise ReportError(f"advice: expected a configuration's fields, got {sorted(one)}")
        if not isinstance(fits := one.pop("fits"), bool):
            raise ReportError(f"advice: expected true or false for fits, got {fits!r}")
        tried.append(Try(fits=fits, **{name: _integer(number, "advice") for name, number in one.items()}))
    return Advice(tried=tuple(tried), text=_text(data["text"], "advice", MESSAGE_CHARACTERS))


def census_from_json(value: Any) -> dict[str, dict[str, int]] | None:
    """A census from untrusted JSON. Raises ReportError."""
    if value is None:
        return None
    groups = _object(value, "census")
    if not set(groups) <= set(GROUPS):
        raise ReportError(f"census: expected the groups {GROUPS}, got {sorted(groups)}")
    return {group: _counts(counts, "census") for group, counts in groups.items()}
