"""pytest --triton-cpu: a library's CUDA tests on a CPU, kernels in the instrumented interpreter.

Without the option this module does nothing and imports nothing heavy.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from verify.errors import InfrastructureError

_NAME = "triton-cpu-run"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; all of them wait for --triton-cpu."""
    group = parser.getgroup("triton-cpu", "Triton kernels without a GPU")
    group.addoption(
        "--triton-cpu",
        action="store_true",
        help="run CUDA tests here, their Triton kernels in an interpreter",
    )
    group.addoption(
        "--triton-cpu-sanitizer",
        choices=("off", "report", "fail"),
        default="report",
        help="watch memory: not at all, in the summary (default), or as failures of the tests",
    )
    group.addoption(
        "--triton-cpu-max-t",
        type=int,
        metavar="N",
        help="clamp sequence lengths (T, seq_len, cu_seqlens, ...) to N, rounded up to whole chunks",
    )
    group.addoption(
        "--triton-cpu-clamp",
        default="",
        metavar="NAME=N,...",
        help="clamp further parameters, for example H=2,D=64",
    )
    group.addoption(
        "--triton-cpu-cases",
        type=int,
        metavar="N",
        help="run only the N smallest parametrisations of each test function",
    )
    group.addoption(
        "--triton-cpu-limit",
        type=float,
        metavar="SECONDS",
        help="processor time that one test may take (default: no limit)",
    )
    group.addoption("--triton-cpu-report", type=Path, metavar="FILE", help="write what happened as JSON")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before any conftest: libraries ask for the device when they are imported."""
    _start(early_config, early_config.known_args_namespace.triton_cpu)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """For a plugin that was loaded too late for the hook above."""
    _start(config, config.getoption("--triton-cpu"))


def _start(config: pytest.Config, wanted: bool) -> None:
    if wanted and not config.pluginmanager.has_plugin(_NAME):
        try:
            from verify.triton_cpu.host.testrun import TestRun  # noqa: PLC0415  # torch and Triton load here

            run = TestRun(config.known_args_namespace)
        except (ImportError, InfrastructureError) as error:
            pytest.exit(f"--triton-cpu cannot be used here: {error}", returncode=3)
        config.pluginmanager.register(run, _NAME)
        config.add_cleanup(run.close)
