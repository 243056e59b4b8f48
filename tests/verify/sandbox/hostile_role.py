"""A role whose every method misbehaves in one way. Loaded by the sandbox server in the tests, never by a
judge.

A method of `ATTEMPTS` tries something that must be denied, and answers with the name of the error it got, or
with {"error": null} if it succeeded. The rest misbehave as processes or as speakers of the protocol.
"""

from __future__ import annotations

import ctypes
import faulthandler
import fcntl
import os
import resource
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from verify.sandbox import wire

CONNECTION = 3
LIBC = ctypes.CDLL(None, use_errno=True)
ROOT = Path(__file__).resolve().parents[3]

# Numbers of x86_64; those from 424 on are the same everywhere.
NUMBERS = {
    "ptrace": 101,
    "setpriority": 141,
    "mount": 165,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "name_to_handle_at": 303,
    "process_vm_writev": 311,
    "memfd_create": 319,
    "bpf": 321,
    "userfaultfd": 323,
    "shmget": 29,
    "setns": 308,
    "io_uring_setup": 425,
    "pidfd_open": 434,
    "clone3": 435,
    "openat2": 437,
    "process_madvise": 440,
    "memfd_secret": 447,
    "listmount": 458,
}


def system_call(name: str, *arguments: int) -> None:
    ctypes.set_errno(0)
    if LIBC.syscall(NUMBERS[name], *(ctypes.c_long(one) for one in arguments)) < 0:
        raise OSError(ctypes.get_errno(), name)


def libc(name: str, *arguments: int) -> None:
    ctypes.set_errno(0)
    if getattr(LIBC, name)(*(ctypes.c_long(one) for one in arguments)) < 0:
        raise OSError(ctypes.get_errno(), name)


def fork() -> None:
    if os.fork() == 0:
        time.sleep(1000)


def raise_a_limit() -> None:
    both = (ctypes.c_uint64 * 2)(1 << 30, 1 << 30)
    libc("setrlimit", resource.RLIMIT_FSIZE, ctypes.addressof(both))


def signal_through_a_descriptor() -> None:
    fcntl.fcntl(CONNECTION, fcntl.F_SETOWN, os.getppid())


ATTEMPTS: dict[str, Callable[[], object]] = {
    "fork": fork,
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "system": lambda: 1 // 0 if os.system("true") == 0 else libc("vfork"),
    "socket": socket.socket,
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "socket pair": socket.socketpair,
    "kill the parent": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "kill everything": lambda: os.kill(-1, signal.SIGKILL),
    "signal through a descriptor": signal_through_a_descriptor,
    "leave the session": os.setsid,
    "outlive the server": lambda: libc("prctl", 1, 0, 0, 0, 0),
    "raise a limit": raise_a_limit,
    "write in the working folder": lambda: Path("written").write_text("x"),
    "write in /tmp": lambda: Path("/tmp/written-by-a-worker").write_text("x"),
    "write in /dev/shm": lambda: Path("/dev/shm/written-by-a-worker").write_text("x"),
    "write in the package": lambda: Path(wire.__file__).open("a"),
    "truncate a file": lambda: os.truncate(wire.__file__, 0),
    "make a folder": lambda: os.mkdir("/tmp/made-by-a-worker"),
    "remove a file": lambda: os.unlink(wire.__file__),
    "rename a file": lambda: os.rename(wire.__file__, "/tmp/moved-by-a-worker"),
    "link a file": lambda: os.symlink("/etc", "/tmp/linked-by-a-worker"),
    "change a mode": lambda: os.chmod(wire.__file__, 0o777),
    "change an owner": lambda: os.chown(wire.__file__, 1, 1),
    "change a time": lambda: os.utime(wire.__file__),
    "read /etc/passwd": lambda: Path("/etc/passwd").read_text(),
    "read the project": lambda: os.listdir(ROOT),
    "read the home": lambda: os.listdir(os.path.expanduser("~root")),
    "list /": lambda: os.listdir("/"),
    "list processes": lambda: os.listdir("/proc"),
    "read own memory": lambda: Path("/proc/self/mem").open("rb"),
    "read own mappings": lambda: Path("/proc/self/maps").read_text(),
    "read own environment": lambda: Path("/proc/self/environ").read_bytes(),
    "read the server's command": lambda: Path(f"/proc/{os.getppid()}/cmdline").read_bytes(),
    "read the server's descriptors": lambda: os.listdir(f"/proc/{os.getppid()}/fd"),
    "trace the parent": lambda: system_call("ptrace", 16, os.getppid(), 0, 0),
    "write into the parent": lambda: system_call("process_vm_writev", os.getppid(), 0, 0, 0, 0, 0),
    "use a real-time priority": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "move to another core": lambda: os.sched_setaffinity(0, {0}),
    **{f"system call {name}": lambda name=name: system_call(name, 0, 0, 0, 0, 0) for name in NUMBERS},
}


class Unprintable(Exception):
    def __str__(self) -> str:
        raise SystemExit("no message")


def loop() -> NoReturn:
    while True:
        pass


def loop_ignoring_limits() -> NoReturn:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    loop()


def allocate() -> list[bytearray]:
    return [bytearray(50 << 30)]


def allocate_in_small_steps() -> list[bytes]:
    kept = []
    while True:
        kept.append(os.urandom(1 << 10) * (1 << 10))


def recurse(depth: int) -> list[Any]:
    """Through a C function, so that the stack of the machine overflows and not a counter of Python's."""
    return list(map(recurse, [depth + 1]))


def overflow_the_stack() -> None:
    sys.setrecursionlimit(1 << 30)
    recurse(0)


def flood() -> None:
    chunk = b"x" * (1 << 20)
    for _ in range(1 << 10):
        os.write(1, chunk)
        os.write(2, chunk)


def start_threads() -> int:
    """As many as it can; answers with their number."""
    threading.stack_size(1 << 20)
    count = 0
    try:
        while count < 100_000:
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
            count += 1
    except RuntimeError:
        pass
    return count


def write_raw(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(CONNECTION, view) :]


def reply_bytes(
    nonce: bytes, header: bytes = b"{}", *, kind: int = wire.REPLY, blob: int | None = None
) -> bytes:
    lengths = b"" if blob is None else struct.pack("<Q", blob)
    prefix = wire.PREFIX.pack(wire.MAGIC, kind, wire.VERSION, 0, nonce, len(header), len(lengths) // 8)
    return prefix + lengths + header


def last_nonce() -> bytes:
    """What any code in the worker can find out: the request is in the caller's frames."""
    frame = sys._getframe()
    while "frame" not in frame.f_locals or not isinstance(frame.f_locals["frame"], wire.Frame):
        assert frame.f_back is not None
        frame = frame.f_back
    nonce: bytes = frame.f_locals["frame"].nonce
    return nonce


def later(seconds: float, data: bytes) -> None:
    def speak() -> None:
        time.sleep(seconds)
        write_raw(data)

    threading.Thread(target=speak, daemon=True).start()


def trickle() -> NoReturn:
    for byte in reply_bytes(last_nonce(), blob=1 << 19) + bytes(1 << 19):
        os.write(CONNECTION, bytes([byte]))
        time.sleep(0.01)
    os._exit(0)


def answer_by_itself() -> NoReturn:
    wire.encode = lambda *arguments, **named: []
    write_raw(reply_bytes(last_nonce(), b'{"by":"the candidate"}'))
    time.sleep(1000)
    os._exit(0)


def stop_half_way() -> NoReturn:
    write_raw(reply_bytes(last_nonce(), blob=100) + b"only this")
    os._exit(0)


def hang_up() -> NoReturn:
    os.close(CONNECTION)
    time.sleep(1000)
    os._exit(0)


def unprintable() -> NoReturn:
    raise Unprintable


MISDEEDS: dict[str, Callable[[], object]] = {
    "loop": loop,
    "loop ignoring limits": loop_ignoring_limits,
    "allocate": allocate,
    "allocate in small steps": allocate_in_small_steps,
    "overflow the stack": overflow_the_stack,
    "exit": lambda: os._exit(0),
    "sys.exit": lambda: sys.exit(0),
    "x32 call": lambda: LIBC.syscall(ctypes.c_long(0x40000000 | 39)),
    "segfault": faulthandler._sigsegv,
    "abort": os.abort,
    "unprintable": unprintable,
    "flood": flood,
    "reply twice": lambda: write_raw(reply_bytes(last_nonce())),
    "reply again later": lambda: later(0.2, reply_bytes(last_nonce())),
    "reply to nothing": lambda: write_raw(reply_bytes(bytes(16))),
    "reply with noise": lambda: write_raw(os.urandom(4096)),
    "reply with a request": lambda: write_raw(reply_bytes(last_nonce(), kind=wire.REQUEST)),
    "reply with a false refusal": lambda: write_raw(
        reply_bytes(last_nonce(), b'{"rule":1}', kind=wire.REFUSAL)
    ),
    "announce a huge header": lambda: write_raw(
        wire.PREFIX.pack(wire.MAGIC, wire.REPLY, wire.VERSION, 0, last_nonce(), 0xFFFFFFFF, 0)
    ),
    "announce a huge blob": lambda: write_raw(reply_bytes(last_nonce(), blob=1 << 62)),
    "trickle": trickle,
    "answer by itself": answer_by_itself,
    "stop half way": stop_half_way,
    "hang up": hang_up,
    "keep a thread": lambda: threading.Thread(target=loop, daemon=True).start(),
    "colour the terminal": lambda: (_ for _ in ()).throw(ValueError("\x1b[31mred\x1b[0m\x07")),
}


def descriptors() -> list[int]:
    found = []
    for number in range(1024):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found


class Handler:
    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[memoryview]
    ) -> tuple[Mapping[str, Any], Sequence[bytes]]:
        if method == "attempt":
            try:
                ATTEMPTS[header["what"]]()
            except OSError as error:
                return {"error": type(error).__name__, "errno": error.errno}, []
            return {"error": None}, []
        if method == "misdeed":
            MISDEEDS[header["what"]]()
            return {}, []
        if method == "look":
            return {
                "environment": dict(os.environ),
                "descriptors": descriptors(),
                "folder": os.getcwd(),
                "pid": os.getpid(),
                "group": os.getpgrp(),
                "session": os.getsid(0),
            }, []
        if method == "threads":
            return {"count": start_threads()}, []
        if method == "reply":
            return header, [bytes(header["bytes"])]
        raise ValueError(f"unknown method {method}")


def open(source: bytes) -> Handler:
    if source:
        exec(compile(source, "candidate", "exec"), {"__name__": "candidate"})
    return Handler()
