"""One run of pytest with kernels in the interpreter: clamps, limits, events and the report."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import signal
import time
from collections.abc import Generator, Iterator
from types import FrameType
from typing import Any

import pytest

from verify.triton_cpu.host.clamping import clamped, cost_of
from verify.triton_cpu.host.session import Options, install
from verify.triton_cpu.host.tracking import TorchRead
from verify.triton_cpu.memory.arena import MemoryEvent

_PROPERTY = "triton-cpu"
_SHOWN = 20
_GRAVEST = ("error", "order-dependent", "benign")


class TimeLimitExceeded(BaseException):
    """A test that took longer than --triton-cpu-limit. No `except Exception` on the way may take it."""


def parsed_limits(text: str) -> dict[str, int]:
    """{"H": 2, "D": 64} of "H=2,D=64"; raises pytest.UsageError for anything else."""
    limits = {}
    for part in filter(None, text.split(",")):
        name, equals, number = part.partition("=")
        if not equals or not number.strip().isdigit():
            raise pytest.UsageError(f"--triton-cpu-clamp: expected NAME=N,NAME=N, got {part!r}")
        limits[name.strip()] = int(number)
    return limits


class TestRun:
    """The plugin proper, registered where --triton-cpu is given."""

    __test__ = False

    def __init__(self, options: argparse.Namespace) -> None:
        self._sanitizer: str = options.triton_cpu_sanitizer
        self._most: int | None = options.triton_cpu_max_t
        self._limits = parsed_limits(options.triton_cpu_clamp)
        self._cases: int | None = options.triton_cpu_cases
        self._seconds: float | None = options.triton_cpu_limit
        self._file = options.triton_cpu_report
        self._host, self._attachment = install(Options(sanitize=self._sanitizer != "off"))
        self._records: dict[str, dict[str, Any]] = {}
        self._left_out = 0

    def close(self) -> None:
        """Give PyTorch and Triton back."""
        self._attachment.close()

    # -- what runs -------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        for item in items:
            parameters = _parameters(item)
            changes = clamped(parameters, self._most, self._limits)
            item.stash[_CLAMPED] = {
                name: f"{_short(parameters[name])} -> {_short(new)}" for name, new in changes.items()
            }
            parameters.update(changes)
        if self._cases is not None:
            kept = set(_smallest(items, self._cases))
            dropped = [item for item in items if item not in kept]
            self._left_out = len(dropped)
            config.hook.pytest_deselected(items=dropped)
            items[:] = [item for item in items if item in kept]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        host = self._host
        host.forget()
        started = time.perf_counter()
        record: dict[str, Any] = {"clamped": item.stash.get(_CLAMPED, {})}
        try:
            with _limited(self._seconds):
                result = yield
        finally:
            found: list[MemoryEvent | TorchRead] = [*host.events, *host.torch_reads]
            events = [{**dataclasses.asdict(event), "severity": event.severity} for event in found]
            record |= {
                "seconds": round(time.perf_counter() - started, 3),
                "launches": host.counters.launches,
                "programs": host.counters.programs,
                "events": events,
            }
            item.user_properties.append((_PROPERTY, record))
        errors = [event for event in events if event["severity"] == "error"]
        if errors and self._sanitizer == "fail":
            pytest.fail("memory sanitizer:\n" + "\n".join(map(_line, errors)), pytrace=False)
        return result

    # -- what is reported ------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Also called where workers of xdist ran the test: everything travels in the report."""
        if report.when != "call" and report.outcome == "passed":
            return
        known = self._records.setdefault(report.nodeid, {})
        for name, value in report.user_properties:
            if name == _PROPERTY and isinstance(value, dict):
                known.update(value)
        if known.get("outcome") != "failed":
            known["outcome"] = report.outcome
        if report.outcome == "failed":
            known["error"] = report.longreprtext.strip().splitlines()[-1:]
            known["when"] = report.when

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        outcomes = collections.Counter(record["outcome"] for record in self._records.values())
        ran = outcomes["passed"] + outcomes["failed"]
        share = 100 * outcomes["passed"] / ran if ran else 0.0
        write = terminalreporter.write_line
        terminalreporter.section("Triton on a CPU")
        write(
            f"{ran} tests ran, {outcomes['passed']} passed ({share:.1f}%), {outcomes['failed']} failed, "
            f"{outcomes['skipped']} skipped; "
            f"{sum(record.get('launches', 0) for record in self._records.values())} launches"
        )
        for line in self._clamp_lines():
            write(line)
        for line in self._event_lines():
            write(line)
        if self._file is not None:
            self._file.write_text(json.dumps(self._document(outcomes), indent=1, sort_keys=True) + "\n")
            write(f"report: {self._file}")

    def _clamp_lines(self) -> Iterator[str]:
        count = sum(bool(record.get("clamped")) for record in self._records.values())
        if self._most is not None or self._limits:
            others = ", ".join(f"{name} <= {most}" for name, most in self._limits.items())
            rule = " and ".join(
                part for part in (f"sequence lengths <= {self._most}" if self._most else "", others) if part
            )
            yield f"clamped: {rule} in {count} tests"
        if self._cases is not None:
            yield f"left out: {self._left_out} larger parametrisations (--triton-cpu-cases {self._cases})"

    def _event_lines(self) -> Iterator[str]:
        if self._sanitizer == "off":
            yield "memory sanitizer: off"
            return
        found: collections.Counter[str] = collections.Counter()
        for record in self._records.values():
            found.update({_line(event) for event in record.get("events", ())})
        yield f"memory sanitizer: {len(found)} different events"
        for line, tests in sorted(
            found.items(), key=lambda pair: (_GRAVEST.index(pair[0].split(":")[0]), -pair[1], pair[0])
        )[:_SHOWN]:
            yield f"  {line} (in {tests} tests)"
        if len(found) > _SHOWN:
            yield f"  ... {len(found) - _SHOWN} more in the report (--triton-cpu-report FILE)"

    def _document(self, outcomes: collections.Counter[str]) -> dict[str, Any]:
        return {
            "outcomes": dict(outcomes),
            "left_out": self._left_out,
            "clamp": {"max_t": self._most, **self._limits},
            "sanitizer": self._sanitizer,
            "tests": self._records,
        }


_CLAMPED = pytest.StashKey[dict[str, str]]()


def _parameters(item: pytest.Item) -> dict[str, Any]:
    specification = getattr(item, "callspec", None)
    return {} if specification is None else specification.params


def _smallest(items: list[pytest.Item], count: int) -> Iterator[pytest.Item]:
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(item.nodeid.split("[")[0], []).append(item)
    for group in groups.values():
        yield from sorted(group, key=lambda item: cost_of(_parameters(item)))[:count]


class _limited:  # noqa: N801  # used like a function
    """Raises TimeLimitExceeded in the main thread after so many seconds of processor time; None: never."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._old: Any = None

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        raise TimeLimitExceeded(
            f"expected the test to need at most {self._seconds} s of the processor. Raise --triton-cpu-limit."
        )

    def __enter__(self) -> None:
        if self._seconds is not None:
            self._old = signal.signal(signal.SIGPROF, self._stop)
            signal.setitimer(signal.ITIMER_PROF, self._seconds)

    def __exit__(self, *_exception: object) -> None:
        if self._seconds is not None:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, self._old)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _line(event: dict[str, Any]) -> str:
    if "operator" in event:
        return (
            f"error: never-written read by torch's {event['operator']} at {event['file']}:{event['line']}, "
            f"allocated at {event['allocated']}"
        )
    where = f"in {event['kernel']}, line {event['line']}"
    return f"{event['severity']}: {event['kind']} of {event['buffer'] or 'no argument'} {where}"
