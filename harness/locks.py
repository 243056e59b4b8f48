"""One run at a time per folder, and folders that can be written to: found out before any work is done."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import HarnessError


@contextlib.contextmanager
def exclusive(folder: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold `folder`, made if missing, for this process; the kernel lets go of it however the process ends.

    Raises HarnessError where it cannot be made, cannot be written to, or another process holds it. With
    `waiting` the last is no error: that is called once, and then this one waits until the other lets go.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise HarnessError(
            f"{folder}: cannot be used as a folder ({error.strerror}). Choose another one."
        ) from None
    try:
        if not _lock(descriptor, folder, fcntl.LOCK_NB):
            if waiting is None:
                raise HarnessError(
                    f"{folder}: another run is using it. Wait until that one ends, or choose another folder."
                )
            waiting()
            _lock(descriptor, folder)
        _check_writable(folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, how: int = 0) -> bool:
    """Whether it is ours now; without LOCK_NB in `how` this waits until it is."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | how)
    except OSError as error:
        if how and error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise HarnessError(f"{folder}: cannot be locked ({error.strerror}). Choose a local folder.") from None
    return True


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
