"""Import modules of packages that were built without their CUDA extension, which their `__init__` wants.

Nothing here loads Triton.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def kernel_module(name: str) -> ModuleType:
    """The module `name`, such as "mamba_ssm.ops.triton.ssd_combined".

    Where its package cannot be imported as a whole, because an extension module of it was not built, the
    packages above the module become empty ones with their search path. Raises ModuleNotFoundError where the
    library is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        parents = name.split(".")[:-1]
        if not parents or missing.name in (name, parents[0]):
            raise
        for loaded in [key for key in sys.modules if key == parents[0] or key.startswith(parents[0] + ".")]:
            del sys.modules[loaded]
        open_packages(parents)
        return importlib.import_module(name)


def open_packages(names: list[str]) -> None:
    """Register `names[0]`, `names[0].names[1]`, ... as empty packages with their real search paths, so that
    modules below them are found and their `__init__` does not run.

    Raises ModuleNotFoundError where the first is not installed.
    """
    found = importlib.util.find_spec(names[0])
    if found is None or found.submodule_search_locations is None:
        raise ModuleNotFoundError(f"expected a package {names[0]}, found none", name=names[0])
    folder = Path(found.submodule_search_locations[0])
    for depth in range(1, len(names) + 1):
        package = ModuleType(".".join(names[:depth]))
        package.__path__ = [str(folder.joinpath(*names[1:depth]))]
        sys.modules[package.__name__] = package
