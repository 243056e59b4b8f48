"""Reach mamba-ssm's Triton operators in a wheel that was built without its CUDA extension.

`mamba_ssm/__init__` imports `selective_scan_cuda`, which such a wheel has not got. The package is registered
here as an empty module with its real search path, so that `mamba_ssm.ops.triton.*` are found below it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from verify.foreign.loading import Unavailable


def open_mamba() -> None:
    """Make `mamba_ssm.ops.triton` importable; nothing where the package is imported already.

    Raises Unavailable where mamba-ssm is not installed.
    """
    if "mamba_ssm" in sys.modules:
        return
    found = importlib.util.find_spec("mamba_ssm")
    if found is None or found.submodule_search_locations is None:
        raise Unavailable(
            "expected mamba-ssm to be installed, found none. Install it without its CUDA extension: "
            "`MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE pip install --no-build-isolation --no-deps "
            "mamba-ssm`"
        )
    root = Path(found.submodule_search_locations[0])
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        package = ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
