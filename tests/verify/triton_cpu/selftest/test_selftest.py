"""The start-up checks pass as things are, and each notices when its correction is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from verify.cli import app
from verify.triton_cpu import private, version
from verify.triton_cpu.interpreter import arithmetic, builder, launch, numerics, reductions
from verify.triton_cpu.interpreter.builder import Builder
from verify.triton_cpu.interpreter.handles import Handle
from verify.triton_cpu.interpreter.language import Language
from verify.triton_cpu.memory.arena import Arena
from verify.triton_cpu.private import core, tl
from verify.triton_cpu.selftest import runner


@pytest.fixture
def fresh_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language layer of this test's own, so that nothing rewritten under a broken one survives."""
    monkeypatch.setattr(launch, "_LANGUAGE", [])


def test_every_check_passes() -> None:
    assert runner.run() == []


def _python_loop(self: Language, kind: Any, *args: Any, **kwargs: Any) -> Iterator[int]:
    yield from range(*(int(a.handle.data[0]) if isinstance(a, core.tensor) else a for a in args))


def _plain_cast(values: Any, dtype: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(dtype)


def _same_bits(values: Any, name: str) -> Any:
    return (np.asarray(values, np.float32).view(np.uint32) >> 24).astype(np.uint8)


def _double(
    value: Any, *, constant: bool, fixed: bool, _original: Callable[..., Any] = launch._argument
) -> Any:
    if isinstance(value, float) and not constant:
        return core.tensor(Handle(np.array([value]), tl.float64), tl.float64)
    return _original(value, constant=constant, fixed=fixed)


@contextmanager
def _leaving_a_patch(self: Language) -> Iterator[None]:
    with _ACTIVE(self):
        yield
    core.tensor.T = property(lambda _: None)


_ACTIVE = Language.active
_T = core.tensor.T


def _sequential_atomic(
    self: Arena,
    addresses: Any,
    operands: Any,
    mask: Any,
    dtype: Any,
    buffer: Any,
    combine: Any,
    *,
    poison: Any,
) -> Any:
    index = (addresses - buffer.base) // dtype.itemsize
    old = buffer.view(dtype)[index]
    buffer.view(dtype)[index] = combine(old, *operands)
    return old


def _stop_after_a_while(language: Language) -> None:
    language.builder.work.loop_steps += 1
    if language.builder.work.loop_steps > 1000:
        raise ValueError("stopped by the test")


def _raw_bits(operand: Handle, _precision: object) -> Any:
    return numerics.bfloat16_bits(operand.data).astype(np.float32)


def _narrow_dot(self: Builder, a: Handle, b: Handle, c: Handle, *_: Any) -> Handle:
    return Handle(np.matmul(a.data, b.data) + c.data, c.dtype)


def _always_unsigned(self: Builder, source: Handle, target: Any, signed: bool) -> Handle:
    return _INT_CAST(self, source, target, False)


_INT_CAST = Builder.create_int_cast


def _without_captured(self: Language, function: Any) -> Any:
    kept, self._replacements = self._replacements, {}
    try:
        return _REWRITE(self, function)
    finally:
        self._replacements = kept


_REWRITE = Language.rewrite


def _unsaturated(values: Any, name: str) -> Any:
    x = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    return x.to(numerics.FLOAT8[name]).view(torch.uint8).numpy()


def _plain_clip(self: Builder, x: Handle, low: Handle, high: Handle, _nan: object) -> Handle:
    return Handle(np.clip(x.data, low.data, high.data), x.dtype)


def _refused(*_: Any) -> Any:
    raise ValueError("expected an operation that runs without a device")


def _first_half(handles: list[Handle], axis: int, _combine: Any) -> list[Handle]:
    return [Handle(np.take(h.data, [0], axis=axis), h.dtype) for h in handles]


def _first_program(self: Builder, axis: int) -> Handle:
    return Handle(self._program_ids[axis][:1], tl.int32)


FAULTS: list[tuple[str, Any, str, Any]] = [
    ("bfloat16 arithmetic", numerics, "round_bfloat16", lambda x: np.asarray(x, np.float32)),
    ("bfloat16 rounding", numerics, "round_bfloat16", numerics.truncate_bfloat16),
    ("bfloat16 sums", numerics, "round_bfloat16", lambda x: np.asarray(x, np.float32)),
    ("bfloat16 functions", numerics, "round_bfloat16", lambda x: np.asarray(x, np.float32)),
    ("bfloat16 dot", builder, "_dot_operand", _raw_bits),
    ("truncation", numerics, "truncate_bfloat16", numerics.round_bfloat16),
    ("truncation", numerics, "truncate_float16", lambda x: np.asarray(x).astype(np.float16)),
    ("float16 sums", reductions, "_narrow", lambda _dtype: False),
    ("float16 dot", builder, "_dot_operand", lambda operand, _: operand.data),
    ("float8", numerics, "float8_bits", _same_bits),
    ("float8", numerics, "float8_bits", _unsaturated),
    ("float8 dot", builder, "_dot_operand", lambda operand, _: operand.data.astype(np.float32)),
    ("float8 arithmetic", arithmetic, "rounded", Handle),
    ("int8 dot", Builder, "create_dot", _narrow_dot),
    ("float to integer", numerics, "saturating_integers", _plain_cast),
    ("loop variables", Language, "_loop", _python_loop),
    ("captured functions", Language, "rewrite", _without_captured),
    ("choices", Language, "_extreme", lambda self, name: max if name == "maximum" else min),
    ("choices", Language, "_logical", lambda self, parts, **_: parts[-1]()),
    ("choices", Builder, "create_minnumf", Builder.create_minimumf),
    ("inline assembly", builder, "run_inline", _refused),
    ("float scalars", launch, "_argument", _double),
    ("tf32", numerics, "round_tf32", lambda x: x),
    ("tf32", private, "precision_name", lambda _: "ieee"),
    ("tf32", private, "precision_name", lambda _: "tf32"),
    ("reduce", reductions, "_tree", _first_half),
    ("associative scan", np, "roll", lambda x, *_: x),
    ("integers", Builder, "create_lshr", Builder.create_ashr),
    ("integers", Builder, "create_sdiv", lambda self, a, b: Handle(a.data // b.data, a.dtype)),
    ("integers", Builder, "create_srem", lambda self, a, b: Handle(np.remainder(a.data, b.data), a.dtype)),
    ("integer widths", Builder, "create_int_cast", _always_unsigned),
    ("fma", numerics, "fused_multiply_add", lambda x, y, z: x * y + z),
    ("maximum", Builder, "create_maxnumf", Builder.create_maximumf),
    ("clamp", Builder, "create_clampf", _plain_clip),
    ("atomics", Arena, "atomic", _sequential_atomic),
    (
        "memory events",
        Builder,
        "create_addptr",
        lambda self, p, o: Handle(p.data + o.data * np.int64(4), p.dtype),
    ),
    ("memory events", Arena, "_check_contents", lambda self, *_: None),
    ("work limits", Language, "count_step", _stop_after_a_while),
    ("restored", Language, "active", _leaving_a_patch),
    ("programs together", Builder, "create_get_program_id", _first_program),
    ("device functions", Builder, "create_erf", Builder.create_sin),
    ("device functions", numerics, "multiply_high", lambda x, y: x * y),
    ("device functions", builder, "call_device_function", lambda _, values: np.sin(values[0])),
]


@pytest.mark.usefixtures("fresh_language")
@pytest.mark.parametrize(
    ("check", "owner", "name", "fault"), FAULTS, ids=[f"{check}: {name}" for check, _, name, _ in FAULTS]
)
def test_a_missing_correction_is_reported(
    check: str, owner: Any, name: str, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, fault)
    try:
        failures = runner.run(only={check})
    finally:
        core.tensor.T = _T
    assert any(failure.startswith(f"{check}:") for failure in failures), failures


def test_every_check_has_a_fault_that_it_notices() -> None:
    assert {check for check, *_ in FAULTS} == set(runner.CHECKS)


@pytest.mark.usefixtures("fresh_language")
def test_an_unknown_triton_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.private, "VERSION", (4, 0))
    (failure,) = runner.run()
    assert failure.startswith("version: expected Triton 3.6 to 3.9, got 4.0.")


def test_the_command_says_how_it_stands_and_ends_with_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = CliRunner().invoke(app, ["selftest"])
    version_text = ".".join(map(str, version.VERSION))
    assert (sound.exit_code, sound.stdout.splitlines()) == (
        0,
        [f"{len(runner.CHECKS)} known answers are right under Triton {version_text}"],
    )
    monkeypatch.setattr(runner, "run", lambda: ["fma: expected 1, got 2"])
    broken = CliRunner().invoke(app, ["selftest"])
    assert (broken.exit_code, broken.stdout.splitlines()) == (3, ["fma: expected 1, got 2"])
    assert "this interpreter judges no kernel" in broken.stderr


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("3.7.1", (3, 7)), ("3.10.0+git1234", (3, 10)), ("3.8", (3, 8)), ("4.0.0rc1", (4, 0)), ("main", (0, 0))],
)
def test_versions_are_read_as_far_as_they_can_be(text: str, parsed: tuple[int, int]) -> None:
    assert version.parsed(text) == parsed
    assert version.supported(parsed) == ((3, 6) <= parsed <= (3, 9))
