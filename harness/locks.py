"""One run at a time per folder, and folders that can be written to: found out before any work is done."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from harness.errors import HarnessError


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if missing, for this process; the kernel lets go of it however the process ends.

    Raises HarnessError where it cannot be made, cannot be written to, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise HarnessError(
            f"{folder}: cannot be used as a folder ({error.strerror}). Choose another one."
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise HarnessError(
                    f"{folder}: cannot be locked ({error.strerror}). Choose a local folder."
                ) from None
            raise HarnessError(
                f"{folder}: another run is using it. Wait until that one ends, or choose another folder."
            ) from None
        _check_writable(folder)
        yield
    finally:
        os.close(descriptor)


def _check_writable(folder: Path) -> None:
    probe = folder / f".probe-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
        probe.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            probe.unlink()
        raise HarnessError(
            f"{folder}: cannot be written to ({error.strerror}). Make room or choose another one."
        ) from None
