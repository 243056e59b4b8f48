"""Libraries that only some commands need."""

from __future__ import annotations

import contextlib
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
        raise HarnessError(
            f"expected the library {error.name}, got none. Install it: pip install 'aira-harness[{name}]'"
        ) from None
