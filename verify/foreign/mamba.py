"""Reach mamba-ssm's Triton operators in a wheel that was built without its CUDA extension."""

from __future__ import annotations

import sys

from verify.foreign.loading import Unavailable
from verify.triton_cpu.packages import open_packages


def open_mamba() -> None:
    """Make `mamba_ssm.ops.triton` importable; nothing where the package is imported already.

    Raises Unavailable where mamba-ssm is not installed.
    """
    if "mamba_ssm" in sys.modules:
        return
    try:
        open_packages(["mamba_ssm", "ops"])
    except ModuleNotFoundError:
        raise Unavailable(
            "expected mamba-ssm to be installed, found none. Install it without its CUDA extension: "
            "`MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE pip install --no-build-isolation --no-deps "
            "mamba-ssm`"
        ) from None
