"""pytest --triton-cpu on a small suite that was written for a GPU; without the option nothing happens."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from verify.triton_cpu.host.clamping import clamped, clamped_length, clamped_offsets, cost_of

ROOT = Path(__file__).parents[4]
SUITE = """
import pytest, time, torch, triton
import triton.language as tl
assert torch.cuda.is_available()

@triton.jit
def twice(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, 2 * tl.load(x + at, mask=at < n), mask=at < n)

@triton.jit
def ones(out):
    tl.store(out + tl.arange(0, 8), 1.0)

@pytest.mark.parametrize("D", [4, 8])
@pytest.mark.parametrize("T", [1000, 2048])
def test_twice(T, D):
    assert T in (104, 128) and D == 4
    x = torch.randn(T, D, device="cuda")
    out = torch.empty_like(x)
    twice[lambda meta: (triton.cdiv(T * D, meta["BLOCK"]),)](x, out, T * D, BLOCK=128)
    assert torch.equal(out, 2 * x)

def test_reads_too_much():
    x, out = torch.empty(8, device="cuda"), torch.empty(8, device="cuda")
    x[:7] = 1
    twice[(1,)](x, out, 8, BLOCK=8)

def test_overlaps():
    ones[(2,)](torch.empty(8, device="cuda"))

def test_waits():
    while True:
        time.perf_counter()

@pytest.mark.skip(reason="wants two devices")
def test_two_devices():
    pass
"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_suite.py").write_text(SUITE, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    installed = any(one.name == "triton-cpu" for one in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "verify.triton_cpu.pytest_plugin"]
    return subprocess.run(
        [*command, *plugin, *options, str(folder)],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_suite_for_cuda_runs_clamped_watched_limited_and_reported(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    ran = run(
        tmp_path,
        *(
            "--triton-cpu",
            "--triton-cpu-max-t",
            "128",
            "--triton-cpu-clamp",
            "D=4",
            "--triton-cpu-limit",
            "2",
        ),
        *("--triton-cpu-sanitizer", "fail", "--triton-cpu-report", str(report), "--triton-cpu-cases", "3"),
    )
    assert "6 tests ran, 4 passed (66.7%), 2 failed, 1 skipped; 5 launches" in ran.stdout, (
        ran.stdout + ran.stderr
    )
    assert "clamped: sequence lengths <= 128 and D <= 4 in 3 tests" in ran.stdout
    assert "left out: 1 larger parametrisations" in ran.stdout
    assert "error: never-written read of x in twice, line 9 (in 1 tests)" in ran.stdout
    document = json.loads(report.read_text(encoding="utf-8"))
    tests = {name.split("::")[1]: record for name, record in document["tests"].items()}
    assert tests["test_twice[1000-8]"]["clamped"] == {"D": "8 -> 4", "T": "1000 -> 104"}
    assert tests["test_twice[1000-8]"]["outcome"] == "passed"
    assert "TimeLimitExceeded" in " ".join(tests["test_waits"]["error"])
    (event,) = tests["test_reads_too_much"]["events"]
    assert (event["offset"], event["count"], event["severity"]) == (7, 1, "error")
    (event,) = tests["test_overlaps"]["events"]
    assert (event["kind"], event["severity"]) == ("overlap of equal values", "benign")
    assert tests["test_overlaps"]["outcome"] == "passed"


def test_without_the_option_the_plugin_changes_and_loads_nothing() -> None:
    program = (
        "import sys, verify.triton_cpu.pytest_plugin\n"
        "assert not {'torch', 'triton', 'numpy'} & set(sys.modules), 'something heavy was loaded'"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("length", "most", "chunk", "expected"),
    [
        (2048, 128, 64, 128),
        (2048, 100, 64, 128),
        (1000, 128, 64, 104),
        (65, 128, 64, 65),
        (129, 128, 64, 65),
        (300, 128, 256, 44),
        (512, 128, 256, 256),
    ],
)
def test_a_clamped_length_keeps_its_remainder(length: int, most: int, chunk: int, expected: int) -> None:
    got = clamped_length(length, most, chunk)
    assert got == expected
    assert got == length or got % chunk == length % chunk


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ([0, 15], [0, 15]),
        ([0, 15, 100, 300, 1200, 2000], [0, 15, 31, 47, 112, 128]),
        ([0, 2000], [0, 128]),
        ([0, 1, 100, 101, 400], [0, 1, 22, 23, 128]),
    ],
)
def test_clamped_offsets_keep_short_sequences_and_their_number(
    offsets: list[int], expected: list[int]
) -> None:
    got = clamped_offsets(offsets, 128)
    assert got == expected
    assert all(after > before for before, after in itertools.pairwise(got))


def test_only_named_parameters_change() -> None:
    parameters = {"T": 512, "D": 512, "H": 8, "flag": True, "chunk_size": 16, "cu_seqlens": (0, 300)}
    assert clamped(parameters, 100, {"H": 2}) == {"T": 128, "H": 2, "cu_seqlens": (0, 100)}
    assert clamped(parameters, None, {}) == {}
    assert cost_of({"B": 2, "T": 5, "x": True, "cu_seqlens": [0, 3, 7], "name": "a"}) == 70
