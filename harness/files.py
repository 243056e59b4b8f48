"""Files that are there or not, whatever their name, and files that are replaced as a whole."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from harness.errors import HarnessError

_PARTIAL = ".partial"


def is_file(path: Path) -> bool:
    """Whether there is such a file. A name that no file can have, such as one that is too long, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # before Python 3.12 some of them are raised
        return False


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file: after a crash there is the old one or the new one, and several processes may write it
    at once. Raises HarnessError.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}{_PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            with contextlib.suppress(OSError):  # it is there only where something went wrong
                partial.unlink()
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be written ({error.strerror}). Make room or permission."
        ) from None


def remove_partial(folder: Path) -> None:
    """Remove what killed processes left half written. Only for who holds the folder alone."""
    for path in folder.glob(f".*{_PARTIAL}"):
        with contextlib.suppress(OSError):
            path.unlink()
