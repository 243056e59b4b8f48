"""The start-up checks pass as things are, and each notices when its correction is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from verify.triton_cpu import launch, numerics, selftest
from verify.triton_cpu.builder import Builder
from verify.triton_cpu.handles import Handle
from verify.triton_cpu.language import Language
from verify.triton_cpu.memory import Arena
from verify.triton_cpu.private import core, tl


@pytest.fixture
def fresh_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language layer of this test's own, so that nothing rewritten under a broken one survives."""
    monkeypatch.setattr(launch, "_LANGUAGE", [])


def test_every_check_passes() -> None:
    assert selftest.run() == []


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


FAULTS: list[tuple[str, Any, str, Any]] = [
    ("bfloat16 arithmetic", numerics, "round_bfloat16", lambda x: np.asarray(x, np.float32)),
    ("bfloat16 rounding", numerics, "round_bfloat16", numerics.truncate_bfloat16),
    ("float8", numerics, "float8_bits", _same_bits),
    ("float to integer", numerics, "saturating_integers", _plain_cast),
    ("loop variables", Language, "_loop", _python_loop),
    ("choices", Language, "_extreme", lambda self, name: max if name == "maximum" else min),
    ("choices", Language, "_logical", lambda self, parts, **_: parts[-1]()),
    ("choices", Builder, "create_minnumf", Builder.create_minimumf),
    ("float scalars", launch, "_argument", _double),
    ("tf32", numerics, "round_tf32", lambda x: x),
    ("associative scan", np, "roll", lambda x, *_: x),
    ("integers", Builder, "create_lshr", Builder.create_ashr),
    ("integers", Builder, "create_sdiv", lambda self, a, b: Handle(a.data // b.data, a.dtype)),
    ("fma", numerics, "fused_multiply_add", lambda x, y, z: x * y + z),
    ("maximum", Builder, "create_maxnumf", Builder.create_maximumf),
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
    ("device functions", numerics, "erf", np.tanh),
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
        failures = selftest.run()
    finally:
        core.tensor.T = _T
    assert any(failure.startswith(f"{check}:") for failure in failures), failures


def test_every_check_has_a_fault_that_it_notices() -> None:
    covered = {check for check, *_ in FAULTS} | {
        "bfloat16 sums",
        "bfloat16 dot",
    }  # both rest on rounding, tested above
    assert covered == set(selftest.CHECKS)


@pytest.mark.usefixtures("fresh_language")
def test_an_unknown_triton_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest.private, "VERSION", (4, 0))
    assert selftest.run() == ["version: expected Triton 3.6 to 3.9, got 4.0"]
