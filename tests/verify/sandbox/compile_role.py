"""A role for the tests of the profile "compile": starts what it may, and tries what it may not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from verify.sandbox import wire


def leave_a_child() -> None:
    if os.fork() == 0:
        time.sleep(1000)


def hide_a_child() -> None:
    """A grandchild whose parent is gone."""
    if os.fork() == 0:
        leave_a_child()
        os._exit(0)
    os.wait()


ATTEMPTS: dict[str, Callable[[], object]] = {
    "run another program": lambda: subprocess.run(["/bin/true"], check=True),
    "run what it wrote": lambda: os.execv(written_program(), ["x"]),
    "socket": socket.socket,
    "write in /tmp": lambda: Path("/tmp/written-by-a-worker").write_text("x"),
    "write in the package": lambda: Path(wire.__file__).open("a"),
    "remove a file": lambda: os.unlink(wire.__file__),
    "change a mode": lambda: os.chmod(wire.__file__, 0o777),
    "read /etc/passwd": lambda: Path("/etc/passwd").read_text(),
    "read another's scratch": lambda: os.listdir(Path.home().parent),
    "kill the parent": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "leave the session": os.setsid,
    "leave the group": lambda: os.setpgid(0, 0),
}


def written_program() -> str:
    path = Path("program")
    path.write_bytes(Path("/lib64/ld-linux-x86-64.so.2").read_bytes())
    return str(path)


class Handler:
    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[memoryview]
    ) -> tuple[Mapping[str, Any], Sequence[bytes]]:
        if method == "attempt":
            try:
                ATTEMPTS[header["what"]]()
            except OSError as error:
                return {"errno": error.errno}, []
            return {"errno": None}, []
        if method == "child":
            leave_a_child()
        elif method == "orphan":
            hide_a_child()
        elif method == "assemble":
            done = subprocess.run([header["ptxas"], "--version"], capture_output=True, check=True, timeout=30)
            return {}, [done.stdout]
        elif method == "write":
            with tempfile.NamedTemporaryFile(delete=False) as file:
                file.write(b"x" * 1000)
            os.mkdir("folder")
            Path("folder", "a").write_text("a")
            os.replace("folder/a", "b")
            return {"folder": os.getcwd(), "file": file.name, "cache": os.environ["TRITON_CACHE_DIR"]}, []
        return {}, []


def open(source: bytes) -> Handler:
    return Handler()
