"""Compiling in confined workers: one kernel's end is not another's, and reports are not believed blindly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from verify.judge.compile_pool import Answer, CompilePool, Failure, Unit
from verify.judge.compiling import Job, Shape, check_answer
from verify.plan.specialise import Specialisation, Specialised
from verify.sandbox.client import Limits, Role, Server
from verify.triton_cpu.compiler.report import CompileReport
from verify.triton_cpu.compiler.targets import Target

ROLES = {"compile": Role(module="tests.verify.judge.compiling_role", profile="compile")}
LIMITS = Limits(memory_bytes=1 << 30, seconds=1.5)
SHAPE = Shape(dtype="bfloat16", head=64)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(roles=ROLES, preload=()) as server:
        yield server


def kernel(name: str, *, line: int = 7, warps: int = 4, stages: int = 3) -> Specialised:
    launch = Specialisation(kernel=name, arguments=(("n", 16),), num_warps=warps, num_stages=stages)
    return Specialised(specialisation=launch, line=line, launches=1)


def run(
    server: Server,
    script: dict[str, Any],
    *,
    target: Target = "sm_90",
    seconds: float = 60.0,
    workers: int = 1,
    census: bool = False,
) -> tuple[Job, dict[str, Answer]]:
    job = Job(shape=SHAPE, target=target, kernels=tuple(kernel(name) for name in script))
    pool = CompilePool(server, LIMITS, seconds=seconds)
    try:
        pool.add(job.units(json.dumps(script).encode(), census=census))
        answers = pool.result(workers=workers)
    finally:
        pool.close()
    assert len(answers) == len(script)
    return job, {unit.launch.kernel: answer for unit, answer in answers.items()}


def findings(job: Job, answers: dict[str, Answer]) -> list[str]:
    return [
        f"{finding.rule} {finding.message}"
        for one in job.kernels
        for finding in check_answer(job, one, answers[one.specialisation.kernel])
    ]


def test_a_compiler_that_dies_takes_one_kernel_with_it(server: Server) -> None:
    job, answers = run(server, {"first": {}, "dies": {"dies": True}, "last": {"registers": 9}})
    assert isinstance(answers["dies"], Failure)
    assert isinstance(answers["first"], CompileReport)
    assert answers["last"] == CompileReport(
        kernel="last", target="sm_90", num_warps=4, num_stages=3, registers=9
    )
    (found,) = findings(job, answers)
    assert found.startswith("CMP-FAILED dies: ")


def test_a_source_that_takes_too_long_is_given_up_and_that_is_no_verdict(server: Server) -> None:
    script = {"slow": {"seconds": 5.0}, "next": {}, "last": {}}
    job, answers = run(server, script)
    assert all(isinstance(answer, Failure) and answer.kind == "timeout" for answer in answers.values())
    assert {found.split()[0] for found in findings(job, answers)} == {"ADM-TIMEOUT"}
    assert len(set(findings(job, answers))) == 1


def test_kernels_share_the_time_of_their_group(server: Server) -> None:
    script = {f"k{index}": {"seconds": 0.3} for index in range(4)}
    _, answers = run(server, script, seconds=0.45)
    late = [name for name, answer in answers.items() if isinstance(answer, Failure)]
    assert late  # how many there are depends on the machine
    assert late == list(script)[-len(late) :]
    assert "k0" not in late


def test_a_kernel_that_does_not_fit_says_what_would(server: Server) -> None:
    script = {"large": {"shared_a_stage": 93_184}, "spills": {"spill": 8000}, "fine": {"spill": 400}}
    job, answers = run(server, script)
    shared, spilled = findings(job, answers)
    assert shared == (
        "CMP-SHARED large: needs 279,552 B of shared memory a block; sm_90 has 232,448. "
        "Tried: num_stages 2 would fit (186,368 B)."
    )
    assert spilled == (
        "CMP-SPILL spills: spills 2,000 B of registers a thread; expected at most 512. "
        "Tried: num_warps 8 would leave 1,000 B: use smaller tiles."
    )
    again = [findings(*run(server, script, workers=workers)) for workers in (1, 2)]
    assert again == [[shared, spilled]] * 2


def test_trying_other_configurations_does_not_make_a_source_late(server: Server) -> None:
    script = {"large": {"shared_a_stage": 93_184, "seconds": 0.6}, "next": {"registers": 3}}
    job, answers = run(server, script, seconds=1.1)
    assert isinstance(answers["next"], CompileReport)
    assert [found.split()[0] for found in findings(job, answers)] == ["CMP-SHARED"]


@pytest.mark.parametrize(
    "lie",
    [
        {"raw": {"kernel": "lies"}},
        {"raw": 7},
        {"kernel": "another"},
        {"warnings": ["w"] * 600},
    ],
)
def test_an_answer_of_no_known_form_is_a_failure(server: Server, lie: dict[str, Any]) -> None:
    job, answers = run(server, {"lies": lie, "honest": {}})
    assert isinstance(answers["lies"], Failure)
    assert isinstance(answers["honest"], CompileReport)
    assert findings(job, answers)[0].startswith("CMP-FAILED lies: ")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_census_comes_back_to_its_kernel(server: Server, workers: int) -> None:
    counts = {name: {"float": {"FFMA": at}} for at, name in enumerate(("a", "b", "c"), 1)}
    script: dict[str, Any] = {name: {"census": count} for name, count in counts.items()}
    script |= {"dies": {"dies": True}, "none": {}}
    _, answers = run(server, script, workers=workers, census=True)
    got = {name: answer.census for name, answer in answers.items() if isinstance(answer, CompileReport)}
    assert got == {**counts, "none": None}
    _, answers = run(server, {"a": {"census": counts["a"]}, "b": {"census": {"lie": {}}}}, census=True)
    for answer in answers.values():
        assert isinstance(answer, CompileReport)
        assert answer.census is None
        assert answer.warnings[0].startswith("no census: ")


def test_errors_are_made_printable(server: Server) -> None:
    _, answers = run(server, {"k": {"error": "no\x1b[2J"}})
    assert isinstance(answers["k"], CompileReport)
    assert answers["k"].error == "no?[2J"


def test_two_sources_go_side_by_side_and_keep_their_own_answers(server: Server) -> None:
    pool = CompilePool(server, LIMITS, seconds=60.0)
    job = Job(shape=SHAPE, target="sm_80", kernels=(kernel("a"), kernel("b")))
    sources = [json.dumps({"a": {"registers": n}, "b": {"registers": n + 1}}).encode() for n in (10, 20, 30)]
    try:
        for source in sources:
            pool.add(job.units(source))
        answers = pool.result(workers=2)
    finally:
        pool.close()
    for source, first in zip(sources, (10, 20, 30), strict=True):
        units = job.units(source)
        got = [answers[unit] for unit in units]
        assert [one.registers for one in got if isinstance(one, CompileReport)] == [first, first + 1]


def test_closing_ends_what_is_under_way(server: Server) -> None:
    pool = CompilePool(server, Limits(memory_bytes=1 << 30, seconds=60.0), seconds=60.0)
    job = Job(shape=SHAPE, target="sm_80", kernels=(kernel("slow"), kernel("never")))
    pool.add(job.units(json.dumps({"slow": {"seconds": 30.0}, "never": {}}).encode()))
    pool.start()
    pool.close()
    assert not any(isinstance(unit, Unit) for unit in pool._waiting)


def test_float32_spills_and_only_ieee_dots_pass() -> None:
    job = Job(shape=Shape(dtype="float32", head=64), target="sm_90", kernels=(kernel("k"),))
    (one,) = job.kernels
    report = CompileReport(kernel="k", target="sm_90", num_warps=4, num_stages=3, spill_bytes=4096)
    assert check_answer(job, one, report) == []
    data = report.to_json()
    dot = {"left": "f32", "right": "f32", "result": "f32", "precision": "tf32", "scaled": False, "count": 2}
    wrong = CompileReport.from_json({**data, "dots": [dot]})
    (found,) = check_answer(job, one, wrong)
    assert (found.rule, found.line) == ("CMP-DOT-PRECISION", 7)
