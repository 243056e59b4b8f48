"""Libraries that only some commands need."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator

from harness.errors import HarnessError


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Imports inside that find nothing become a HarnessError that says which extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in {"harness", "verify", "templates"}:
            raise  # ours is missing: a defect, not a choice of the user's
        raise _missing(error.name, name) from None


def expect(library: str, name: str) -> None:
    """Find out before any work that a library of the extra `name` is missing. Raises HarnessError."""
    if importlib.util.find_spec(library) is None:
        raise _missing(library, name)


def _missing(library: str | None, name: str) -> HarnessError:
    return HarnessError(
        f"expected the library {library}, got none. Install it: pip install 'aira-harness[{name}]'"
    )
