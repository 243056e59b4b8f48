"""The judge's side: start the warm server, ask it for confined workers, end everything.

with Server() as server, server.worker("trace", source=source) as worker:
    header, blobs = worker.call("trace", {"request": request, "kernels": kernels})
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from verify.sandbox.worker import (
    DEFAULT_LIMITS,
    Limits,
    RemoteRefusal,
    SandboxError,
    Worker,
    WorkerFailure,
    printable,
)

__all__ = [
    "DEFAULT_LIMITS",
    "FULL_ISOLATION",
    "ROLES",
    "Limits",
    "RemoteRefusal",
    "Role",
    "SandboxError",
    "Server",
    "Worker",
    "WorkerFailure",
]

FULL_ISOLATION = "landlock+seccomp"

_CONTROL_BYTES = 1 << 16
_START_SECONDS = 120.0
_CONTROL_SECONDS = 30.0

# Python finds `verify` where the judge found it, and everything else without the project root on the path: a
# `torch.py` that lies next to the project is never imported.
_BOOTSTRAP = (
    "import sys; root = sys.argv[1]; sys.path.insert(0, root); import verify; sys.path.remove(root); "
    "from verify.sandbox.server import main; main(root, int(sys.argv[2]))"
)


@dataclass(frozen=True, kw_only=True)
class Role:
    """A module with `open(source: bytes) -> Handler`, and the profile its workers are confined by."""

    module: str
    profile: Literal["closed", "compile", "device"] = "closed"


ROLES: Mapping[str, Role] = {
    "trace": Role(module="verify.roles.trace"),
    "oracle": Role(module="verify.roles.oracle"),
    "execute": Role(module="verify.roles.execute"),
    "compile": Role(module="verify.roles.compile", profile="compile"),
}


class Server:
    """One warm process that forks workers. `start` returns at once; the first `worker` waits until it is
    ready.

    `preload` names modules imported before the first fork; `keep` environment variables of ours that it may
    see. Workers may be asked for, used and ended from
    several threads; several servers may exist.
    """

    def __init__(
        self,
        *,
        roles: Mapping[str, Role] = ROLES,
        preload: Sequence[str] = ("numpy", "torch", "triton", "triton.language"),
        keep: Sequence[str] = (),
    ) -> None:
        self._roles = dict(roles)
        self._preload = tuple(preload)
        self._keep = tuple(keep)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        self._scratch: str | None = None  # what the server and its workers write; both we and it remove it
        self._hello: dict[str, Any] | None = None
        self._workers: set[Worker] = set()
        self._lock = threading.RLock()  # one question and its answer at a time

    def start(self) -> Self:
        """Start the process and return while it still imports. Raises SandboxError off Linux."""
        if self._process is not None:
            return self
        if not sys.platform.startswith("linux"):
            raise SandboxError(
                f"expected Linux, got {sys.platform}. Run the judge on Linux (a container will do)."
            )
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = str(Path(__file__).resolve().parents[2])
        command = [sys.executable, "-P", "-c", _BOOTSTRAP, root, str(theirs.fileno())]
        # A session of its own, so that Ctrl-C in the terminal reaches the judge only, which then closes
        # everything.
        self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
            command,
            env=_server_environment(self._keep),
            cwd="/",
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )
        theirs.close()
        self._control = ours
        roles = {name: dataclasses.asdict(role) for name, role in self._roles.items()}
        self._scratch = tempfile.mkdtemp(prefix="verify-sandbox-")
        self._say({"roles": roles, "preload": self._preload, "scratch": self._scratch})
        return self

    @property
    def isolation(self) -> str:
        """What a probe worker found to hold: "landlock+seccomp" (full), "seccomp", "landlock" or "none"."""
        return str(self._ready()["isolation"])

    @property
    def pid(self) -> int:
        """Process id of the server, which leads a session of its own."""
        self.start()
        assert self._process is not None
        return self._process.pid

    def worker(self, role: str, *, source: bytes, limits: Limits = DEFAULT_LIMITS) -> Worker:
        """A confined process that has begun to open `source` (the bytes of one candidate) in `role`.

        Returns as soon as it is forked; what `open` raises arrives with the first `result`. Raises
        WorkerFailure("refused") if the role is unknown or cannot be loaded, SandboxError if the server is
        gone.
        """
        missing = self._ready()["missing"]
        if role not in self._roles or role in missing:
            reason = missing.get(role, "no such role")
            raise WorkerFailure(
                "refused",
                f"expected one of {sorted(set(self._roles) - set(missing))}, got role {role!r}: {reason}",
            )
        with self._lock:
            self._say(
                {
                    "do": "spawn",
                    "role": role,
                    "memory_bytes": limits.memory_bytes,
                    "cpu_seconds": limits.cpu_seconds,
                }
            )
            answer, descriptors = self._hear(_CONTROL_SECONDS)
            if "pid" not in answer or len(descriptors) != 2:
                raise SandboxError(f"expected a worker from the sandbox server, got {answer}")
            worker = Worker(self._reap, role, limits, int(answer["pid"]), descriptors)
            self._workers.add(worker)
        worker.send_open(source)
        return worker

    def close(self) -> None:
        """End every worker and the server; remove scratch folders. Never raises, and may be called twice."""
        with self._lock:
            workers = tuple(self._workers)
        for worker in workers:
            worker.kill()
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            _end(self._process, at_once=self._hello is None)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._log.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reap(self, worker: Worker) -> tuple[int, float]:
        """Wait for a killed or finished worker -> (exit status as of `waitstatus_to_exitcode`, CPU
        seconds).
        """
        with self._lock:
            self._workers.discard(worker)
            self._say({"do": "reap", "pid": worker.pid})
            answer, _ = self._hear(_CONTROL_SECONDS)
        return int(answer["status"]), float(answer["cpu_seconds"])

    def _ready(self) -> dict[str, Any]:
        with self._lock:
            self.start()
            if self._hello is None:
                self._hello, _ = self._hear(_START_SECONDS)
            return self._hello

    def _say(self, message: Mapping[str, Any]) -> None:
        if self._control is None:
            raise SandboxError(
                "expected a running sandbox server, got one that is closed. Start a new Server."
            )
        try:
            self._control.send(json.dumps(message).encode())
        except OSError as error:
            raise SandboxError(f"the sandbox server is gone ({error}). {self._last_words()}") from None

    def _hear(self, seconds: float) -> tuple[dict[str, Any], list[int]]:
        assert self._control is not None
        self._control.settimeout(seconds)
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, _CONTROL_BYTES, 2)
        except OSError as error:
            raise SandboxError(f"the sandbox server did not answer ({error}). {self._last_words()}") from None
        if not data:
            raise SandboxError(f"the sandbox server ended. {self._last_words()}")
        return json.loads(data), descriptors

    def _last_words(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        tail = os.pread(self._log.fileno(), 2000, max(0, size - 2000)).decode(errors="replace")
        return f"Its log ends with: {printable(tail.strip()) or '(empty)'}"


def _server_environment(keep: Sequence[str]) -> dict[str, str]:
    """All the environment there is: nothing of the user's can change a verdict or be read by a candidate.

    LD_LIBRARY_PATH is kept because some interpreters do not start without it, and what `keep` names.
    """
    fixed = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", *keep) if name in os.environ}
    return {**fixed, **kept}


def _end(process: subprocess.Popen[bytes], *, at_once: bool) -> None:
    """A server ends by itself when its control socket closes; one that still imports is killed."""
    try:
        process.wait(timeout=0 if at_once else 10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
