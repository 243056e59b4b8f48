"""What a run was asked for, beside its record, so that `harness resume` can ask for it again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.commands.design_request import DesignRequest
from harness.errors import HarnessError
from harness.files import write_atomically

COMMAND_FILE = "command.json"


def write_command(request: DesignRequest, folder: Path) -> None:
    """Put the request into a run's folder, whole or not at all. Raises HarnessError where that cannot be.

    Paths are made absolute, so that a run goes on from wherever it is asked to.
    """
    text = json.dumps(asdict(request), indent=2, sort_keys=True, default=lambda path: str(path.resolve()))
    write_atomically(folder / COMMAND_FILE, f"{text}\n".encode())


def read_command(folder: Path) -> DesignRequest:
    """The inverse of `write_command`. Raises HarnessError where there is none or it is damaged."""
    path = folder / COMMAND_FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be read ({error.strerror}). Give the command that began the run once more."
        ) from None
    try:
        # A file holds JSON's types: a number in quotes is no number.
        return TypeAdapter(DesignRequest).validate_json(text, strict=True)
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}"
            for one in error.errors(include_url=False)[:3]
        )
        raise HarnessError(
            f"{path}: expected what a run was asked for, got other values ({told}). Give the command that "
            "began the run once more."
        ) from None
