"""One confined process as the judge sees it: requests, replies, and every way in which it can fail.

Three things can go wrong and have three types. `RemoteRefusal`: a role says that the candidate breaks a rule.
`WorkerFailure`: the worker gave no usable answer, whatever the reason; it is dead afterwards. `SandboxError`:
the sandbox itself does not work here (exit 3, nobody's fault).
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

from verify.errors import InfrastructureError
from verify.sandbox import wire

FailureKind = Literal["crashed", "timeout", "memory", "malformed", "oversized", "extra", "refused"]

_UNPRINTABLE = re.compile(
    r"[^\n\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]|[\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
_RULE = re.compile(r"[A-Z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one worker may use.

    `memory_bytes`: address space beyond what the server had mapped at the fork. `seconds`: wall time for one
    request, from `submit` to the first byte of the reply, and as much again to transfer it. `cpu_seconds`:
    CPU time over the worker's life. `reply_bytes`: size of one reply, header and blobs together.
    """

    memory_bytes: int = 6 << 30
    seconds: float = 60.0
    reply_bytes: int = 256 << 20
    cpu_seconds: float = 900.0


DEFAULT_LIMITS = Limits()


class SandboxError(InfrastructureError):
    """The sandbox cannot work here; says nothing about a candidate."""


class WorkerFailure(Exception):
    """A worker gave no usable answer.

    kind: "crashed" (ended, or a Python error in it), "timeout", "memory", "malformed" (bytes that are no
    reply to this request), "oversized", "extra" (more than one reply), "refused" (the worker could not be set
    up).
    """

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail

    def __str__(self) -> str:
        return f"worker {self.kind}: {self.detail}"


class RemoteRefusal(Exception):
    """A role's `wire.Refusal`, arrived here: text from a hostile process, made printable."""

    def __init__(self, rule: str, message: str, line: int | None) -> None:
        super().__init__(rule, message, line)
        self.rule = rule
        self.message = message
        self.line = line

    def __str__(self) -> str:
        return f"{self.rule} {self.message}" + (f" (line {self.line})" if self.line is not None else "")


class Worker:
    """One confined process, for one candidate in one role. A context manager: leaving it ends the process.

    One request at a time: `submit`, then `result`. Work of several workers overlaps. Another thread may end a
    worker while its call is under way; the call then fails.
    """

    def __init__(
        self,
        reap: Callable[[Worker], tuple[int, float]],
        role: str,
        limits: Limits,
        pid: int,
        descriptors: Sequence[int],
    ) -> None:
        self.role = role
        self.limits = limits
        self.pid = pid
        self._reap = reap
        self._socket = socket.socket(fileno=descriptors[0])
        self._socket.setblocking(False)
        self._channel = wire.Channel(self._socket.fileno())
        self._pidfd = descriptors[1]
        self._awaited: deque[tuple[bytes, float]] = deque()  # (nonce, deadline) of requests without a reply
        self._opened = False
        self._failure: WorkerFailure | RemoteRefusal | None = None  # what every further call raises
        self._calling = threading.RLock()  # held while the connection is in use
        self._signalling = threading.Lock()  # held while the pidfd is in use
        self._unwanted = False  # somebody asked for its end
        self._ended = False
        self._status: int | None = (
            None  # as of `waitstatus_to_exitcode`; None while it lives or if nobody could ask
        )
        self._cpu_seconds = 0.0

    def send_open(self, source: bytes) -> None:
        """Send the source; `Server.worker` does this."""
        self._send(wire.OPEN, {}, [source])

    def ready(self) -> Self:
        """Wait until `open` has run. Raises RemoteRefusal or WorkerFailure if it failed."""
        with self._calling:
            if not self._opened:
                try:
                    self._receive()
                except RemoteRefusal as refusal:
                    self._failure = refusal
                    self.kill()
                    raise
                self._opened = True
        return self

    def submit(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[bytes | bytearray | memoryview] = ()
    ) -> None:
        """Send a request and return at once. Raises WorkerFailure if it cannot be delivered."""
        with self._calling:
            if self._failure is not None:
                raise self._failure
            if len(self._awaited) > (0 if self._opened else 1):
                raise ValueError(
                    f"expected result() before the next submit({method!r}) to the {self.role} worker"
                )
            if self._opened:
                self._nothing_more()
            self._send(wire.REQUEST, {"method": method, "header": dict(header)}, blobs)

    def result(self) -> tuple[dict[str, Any], list[bytes]]:
        """Wait for the reply to the last `submit`: header and blobs.

        Both come from a hostile process and are only known to be well-formed. Raises RemoteRefusal, or
        WorkerFailure, after which the worker is dead.
        """
        with self._calling:
            self.ready()
            if not self._awaited and self._failure is None:
                raise ValueError(f"expected submit() before result() of the {self.role} worker")
            return self._receive()

    def call(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[bytes | bytearray | memoryview] = ()
    ) -> tuple[dict[str, Any], list[bytes]]:
        """`submit`, then `result`."""
        self.submit(method, header, blobs)
        return self.result()

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds used so far; after the end, those of its children too."""
        if not self._ended:
            with contextlib.suppress(OSError):  # ended, not yet reaped
                # The clock id of another process's CPU time, as clock_getcpuclockid(3) forms it.
                self._cpu_seconds = time.clock_gettime((~self.pid << 3) | 2)
        return self._cpu_seconds

    def close(self) -> None:
        """End the process. Raises WorkerFailure("extra") if it said more than it was asked."""
        try:
            if self._calling.acquire(
                blocking=False
            ):  # else a call is under way, and what arrives is its reply
                try:
                    if not self._ended and not self._awaited:
                        self._nothing_more()
                finally:
                    self._calling.release()
        finally:
            self.kill()

    def kill(self) -> None:
        """End the process and wait until nothing of it is left. Never raises."""
        self._unwanted = True
        with self._signalling, contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        with self._calling:  # a call under way in another thread meets the end of the connection now
            if self._ended:
                return
            self._ended = True
            with self._signalling:
                os.close(self._pidfd)
                self._pidfd = -1
            self._socket.close()
            with contextlib.suppress(SandboxError):  # without a server there is nothing left to wait for
                self._status, self._cpu_seconds = self._reap(self)
            if self._failure is None:
                self._failure = self._closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.kill()

    def _send(
        self, kind: int, header: Mapping[str, Any], blobs: Sequence[bytes | bytearray | memoryview]
    ) -> None:
        if self._failure is not None:
            raise self._failure
        nonce = os.urandom(wire.NONCE_BYTES)
        deadline = time.monotonic() + self.limits.seconds
        parts = wire.encode(kind, nonce, header, blobs)
        self._awaited.append((nonce, deadline))
        try:
            self._channel.send(parts, deadline=deadline)
        except wire.TimedOut:
            self._fail("timeout", f"it did not read its request within {self.limits.seconds:g} s")
        except wire.Closed:
            # It may have said why before it left. If so, the reply that waits says it; else the failure is
            # its end.
            if not self._says_more():
                self._fail_by_status()

    def _receive(self) -> tuple[dict[str, Any], list[bytes]]:
        if self._failure is not None:
            raise self._failure
        nonce, deadline = self._awaited.popleft()
        try:
            self._channel.wait_readable(deadline)
            # It may have waited for us to read, so the transfer has a time of its own.
            frame = self._channel.receive(
                max_bytes=self.limits.reply_bytes, deadline=time.monotonic() + self.limits.seconds
            )
        except wire.TimedOut:
            self._fail("timeout", f"no complete reply within {self.limits.seconds:g} s")
        except wire.Closed as closed:
            self._fail_by_status("in the middle of a reply" if closed.partial else "without a reply")
        except wire.FrameError as error:
            self._fail(error.kind, error.detail)
        if frame.nonce != nonce:
            self._fail("malformed", "a reply to something that was not asked")
        refusal = self._refusal(frame)
        if not self._awaited:
            self._nothing_more()
        if refusal is not None:
            raise refusal
        return frame.header, [bytes(blob) for blob in frame.blobs]

    def _refusal(self, frame: wire.Frame) -> RemoteRefusal | None:  # noqa: RET503  _fail raises
        """None for a reply. Raises WorkerFailure for a reported failure, and for a frame of no known form."""
        header = frame.header
        if frame.kind == wire.REPLY:
            return None
        if frame.kind == wire.REFUSAL and set(header) == {"rule", "message", "line"} and not frame.blobs:
            rule, message, line = header["rule"], header["message"], header["line"]
            if (
                isinstance(rule, str)
                and _RULE.fullmatch(rule)
                and isinstance(message, str)
                and (line is None or type(line) is int)
            ):
                return RemoteRefusal(rule, printable(message)[:4000], line)
        if frame.kind == wire.FAILURE and set(header) == {"kind", "detail"} and not frame.blobs:
            kind, detail = header["kind"], header["detail"]
            if kind in ("crashed", "memory", "refused") and isinstance(detail, str):
                self._fail(kind, printable(detail)[:4000])
        keys = printable(str(sorted(header)))[:200]
        self._fail("malformed", f"expected a reply, got a frame of kind {frame.kind} with the keys {keys}")

    def _nothing_more(self) -> None:
        if self._says_more():
            self._fail("extra", "it sent more than one reply to one request")

    def _says_more(self) -> bool:
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def _fail_by_status(self, when: str = "before it read its request") -> NoReturn:
        """Its end of the connection is closed: let it finish dying, and report what it died of."""
        if self._unwanted:
            self._failure = self._closed()
            self.kill()
            raise self._failure
        ended, _, _ = select.select([self._pidfd], [], [], 1.0)
        self.kill()
        if self._status is None:
            raise SandboxError(
                f"the sandbox server is gone, and the {self.role} worker with it. Start a new Server."
            )
        if not ended:
            self._fail("crashed", f"it closed its connection {when}")
        kind, reason = self._cause_of_death(self._status)
        self._fail(kind, f"it ended {when}: {reason}")

    def _closed(self) -> WorkerFailure:
        return WorkerFailure("refused", f"the {self.role} worker was closed")

    def _cause_of_death(self, status: int) -> tuple[FailureKind, str]:
        # The kernel kills with SIGKILL past the hard CPU limit, and when memory runs out; we did not, yet.
        killed = status == -signal.SIGKILL
        if status == -signal.SIGXCPU or (killed and self._cpu_seconds >= self.limits.cpu_seconds):
            return "timeout", f"its CPU time of {self.limits.cpu_seconds:g} s was used up"
        if killed:
            return "memory", "killed by the kernel, most likely for memory"
        if status < 0:
            return "crashed", f"signal {signal.Signals(-status).name}"
        return "crashed", f"exit status {status}"

    def _fail(self, kind: FailureKind, detail: str) -> NoReturn:
        self._failure = WorkerFailure(kind, f"{self.role}: {detail}")
        self.kill()
        raise self._failure


def printable(text: str) -> str:
    """Text from a hostile process without control characters, which a terminal would obey."""
    return _UNPRINTABLE.sub("?", text)
