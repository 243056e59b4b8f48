"""The file of `--output`: found out to be writable before any work, written after it."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import HarnessError, WrongUsage


def check_output(path: Path | None) -> None:
    """Raises WrongUsage where a document could not be written to `path`; None is no document."""
    if path is None:
        return
    try:
        if path.is_dir() or not path.parent.is_dir():
            raise WrongUsage(
                f"--output: expected a file in a folder that exists, got {path}. Make that folder, or choose "
                "another file."
            )
        writable = os.access(path if path.exists() else path.parent, os.W_OK)
    except OSError as error:  # a name that is too long, say
        raise WrongUsage(
            f"--output: expected a file, got {path} ({error.strerror}). Choose another one."
        ) from None
    if not writable:
        raise WrongUsage(f"--output: expected a file that can be written, got {path}. Choose another one.")


def write_output(path: Path | None, text: str) -> None:
    """Write the document, if one was asked for. Raises HarnessError where the disk does not take it."""
    if path is None:
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be written ({error.strerror}). The run is kept: run the same command again."
        ) from None
