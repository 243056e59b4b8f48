"""Does this layer, on the Triton that is installed, compute what a device computes?

A judge asks before anything else and refuses to judge where a known answer is wrong, or where the version of
Triton is none that this layer was written against.
"""

from __future__ import annotations

from collections.abc import Collection

from verify.triton_cpu import private, version
from verify.triton_cpu.interpreter.launch import KernelError, WorkLimitExceeded, load_kernels
from verify.triton_cpu.selftest import known_language, known_numbers
from verify.triton_cpu.selftest.kernels import SOURCE
from verify.triton_cpu.selftest.known_answer import Check, bits_of, run_once, values_of

__all__ = ["CHECKS", "bits_of", "run", "run_once", "values_of"]

_FILE = "aira_selftest_kernels.py"

CHECKS: dict[str, Check] = {**known_numbers.CHECKS, **known_language.CHECKS}


def run(only: Collection[str] | None = None) -> list[str]:
    """Every check (or those named) on fresh kernels; the failures as "name: what was expected, what came".

    Empty when all hold. Takes about a tenth of a second.
    """
    if not private.supported():
        return [f"version: {version.refusal(private.VERSION)}"]
    kernels = load_kernels(SOURCE, _FILE)
    failures = []
    for name, check in CHECKS.items():
        if only is not None and name not in only:
            continue
        try:
            failure = check(kernels)
        except (KernelError, WorkLimitExceeded, AttributeError, TypeError, ValueError, KeyError) as error:
            failure = f"{type(error).__name__}: {error}"
        if failure is not None:
            failures.append(f"{name}: {failure}")
    return failures
