"""Load a spec file, and say what is missing to run it."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from verify.foreign.spec import BrokenSpec, Spec

SUPPORTED_TRITON = ">=3.6,<3.10"


class Unavailable(Exception):
    """Something that the spec needs is not installed here. The message says what to install."""


def require(requirements: tuple[str, ...]) -> dict[str, str]:
    """Installed versions of a spec's requirements, and Triton's. Raises Unavailable or BrokenSpec."""
    found = {}
    for text in (f"triton{SUPPORTED_TRITON}", *requirements):
        try:
            wanted = Requirement(text)
        except InvalidRequirement as error:
            raise BrokenSpec(f"requires: expected a requirement such as name==1.2.3, got {text!r}") from error
        try:
            installed = version(wanted.name)
        except PackageNotFoundError:
            raise Unavailable(
                f"expected {text} to be installed, found no {wanted.name}. Install it: "
                f"`pip install --no-deps '{text}'`, or `nox -s foreign`"
            ) from None
        if not SpecifierSet(str(wanted.specifier), prereleases=True).contains(installed):
            raise Unavailable(
                f"expected {text}, got {wanted.name} {installed}. What a spec says holds for its versions "
                "only: install one of those, or change `requires` and look at every deviation again"
            )
        found[wanted.name] = installed
    return found


def load(path: Path) -> Spec:
    """The SPEC of a file. Raises BrokenSpec, or Unavailable where its imports are not installed."""
    name = f"verify_foreign_spec_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise BrokenSpec(f"{path}: expected a Python file that ends in .py")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except (BrokenSpec, Unavailable):
        raise
    except ModuleNotFoundError as error:
        raise Unavailable(f"expected the module {error.name} to be installed: {error}") from error
    except Exception as error:
        raise BrokenSpec(f"expected a file that runs, got {type(error).__name__}: {error}") from error
    spec = getattr(module, "SPEC", None)
    if not isinstance(spec, Spec):
        raise BrokenSpec(f"expected `SPEC = Spec(...)`, got {type(spec).__name__}. See docs/triton-on-cpu.md")
    return spec
