"""The warm process: imports everything once, then forks one confined worker per request.

It stays single-threaded (a fork of a threaded process may hang), never sees the source of a candidate, and
never reads what a worker says: the judge gets the other end of the worker's connection. It ends when the
judge does, because its control socket then reaches end of file, and its workers end with it: it kills them,
and if it was killed itself, the kernel does (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import shutil
import signal
import site
import socket
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from verify.sandbox import confine, wire

_CONTROL_BYTES = 1 << 16
_REQUEST_BYTES = 1 << 40  # the judge is trusted, and the worker's memory is bounded
_CONNECTION = 3  # the one descriptor, beside three of /dev/null, that a worker keeps
_PROBE_BYTES = 1 << 30
_NO_MEMORY = ("can't allocate memory", "not enough memory", "cannot allocate memory", "std::bad_alloc")


class Handler(Protocol):
    """What a role's `open` returns."""

    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[memoryview]
    ) -> tuple[Mapping[str, Any], Sequence[bytes | bytearray | memoryview]]:
        """Answer one request; the arrays over `blobs` may be written to."""


Opener = Callable[[bytes], Handler]


def main(root: str, descriptor: int) -> NoReturn:
    """Serve the judge at the other end of the socket `descriptor` until it leaves. `root` holds the package
    `verify`.
    """
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    config = json.loads(control.recv(_CONTROL_BYTES))
    try:
        with contextlib.suppress(ConnectionError):  # the judge may leave at any moment
            _Server(control, config, root).serve()
    finally:
        _remove(config["scratch"])
    os._exit(0)  # no destructor of torch's has anything to add


class _Server:
    """State between requests: what was imported, what was measured, and which workers live."""

    def __init__(self, control: socket.socket, config: Mapping[str, Any], root: str) -> None:
        self._control = control
        self._scratch: str = config["scratch"]
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._scratch_of: dict[int, str | None] = {}  # by worker
        # What libraries write while they are imported goes where it is removed.
        tempfile.tempdir = self._scratch
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(self._scratch, "torch")
        self._roles: Mapping[str, Mapping[str, Any]] = config["roles"]
        self._openers, missing = _load(self._roles, config["preload"], root)
        self._readable = tuple(_readable_paths())
        self._executable = tuple(_executable_paths())
        self._filters = {profile: confine.prepare_filter(profile) for profile in confine.PROFILES}
        confine.adopt_orphans()
        threads = len(os.listdir("/proc/self/task"))
        if threads != 1:
            raise RuntimeError(
                f"expected one thread after the imports, got {threads}: a module starts threads."
            )
        gc.collect()
        gc.freeze()  # a collection in a worker then leaves the shared pages alone
        self._layers = self._probe()
        self._say({"isolation": "+".join(self._layers) or "none", "missing": missing})

    def serve(self) -> None:
        """Answer the judge until it is gone, then end every worker."""
        try:
            while data := self._control.recv(_CONTROL_BYTES):
                request = json.loads(data)
                if request["do"] == "spawn":
                    self._spawn(request)
                else:
                    self._say(self._reap(request["pid"]))
        finally:
            for pid in tuple(self._scratch_of):
                self._reap(pid)

    def _say(self, message: Mapping[str, Any]) -> None:
        self._control.send(json.dumps(message).encode())

    def _spawn(self, request: Mapping[str, Any]) -> None:
        name = request["role"]
        profile: confine.Profile = self._roles[name]["profile"]
        scratch = None if profile == "closed" else tempfile.mkdtemp(dir=self._scratch)
        settings = confine.Confinement(
            profile=profile,
            layers=self._layers,
            readable=self._readable,
            executable=self._executable,
            scratch=scratch,
            memory_bytes=request["memory_bytes"],
            cpu_seconds=request["cpu_seconds"],
        )
        judge, worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with judge, worker:
            pid = self._fork(worker, lambda: _work(settings, self._filters[profile], self._openers[name]))
            self._scratch_of[pid] = scratch
            pidfd = os.pidfd_open(pid)
            socket.send_fds(self._control, [json.dumps({"pid": pid}).encode()], [judge.fileno(), pidfd])
            os.close(pidfd)

    def _fork(self, connection: socket.socket | None, body: Callable[[], int]) -> int:
        """Run `body` in a child that shares only a copy of our memory; its result is the exit status."""
        parent = os.getpid()
        pid = os.fork()
        if pid != 0:
            return pid
        status = 70
        try:
            confine.die_with_parent(parent)
            os.setsid()
            for standard in (0, 1, 2):
                os.dup2(self._null, standard)
            if connection is not None:
                os.dup2(connection.fileno(), _CONNECTION, inheritable=False)
            _close_from(_CONNECTION + (connection is not None))
            status = body()
        finally:
            os._exit(status)

    def _reap(self, pid: int) -> dict[str, Any]:
        """End a worker with everything it started, and wait for all of it."""
        os.kill(pid, signal.SIGKILL)  # ours and not reaped yet, so the number is still its own
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-pid, 0)  # orphans of its process group, which are ours now
        scratch = self._scratch_of.pop(pid)
        if scratch is not None:
            _remove(scratch)
        return {"status": os.waitstatus_to_exitcode(status), "cpu_seconds": usage.ru_utime + usage.ru_stime}

    def _probe(self) -> tuple[str, ...]:
        """The most layers that a real worker can apply and that then really refuse."""
        forbidden = Path(self._scratch, "probe")
        forbidden.write_text("a worker cannot read this", encoding="ascii")
        offered = confine.available_layers()
        for layers in (offered, *((layer,) for layer in reversed(offered))):
            pid = self._fork(None, lambda chosen=layers: self._try_layers(chosen, forbidden))  # type: ignore[misc]
            if os.waitpid(pid, 0)[1] == 0:
                return layers
        return ()

    def _try_layers(self, layers: tuple[str, ...], forbidden: Path) -> int:
        confine.confine(
            confine.Confinement(
                profile="closed",
                layers=layers,
                readable=self._readable,
                memory_bytes=_PROBE_BYTES,
                cpu_seconds=10,
            ),
            self._filters["closed"],
        )
        attempts: dict[str, Callable[[], object]] = {
            "landlock": forbidden.read_bytes,
            "seccomp": socket.socket,
        }
        for layer in layers:
            try:
                attempts[layer]()
            except PermissionError:
                continue
            return 1
        return 0


# ----------------------------------------------------------------------------------------------------- before
# forking


def _load(
    roles: Mapping[str, Mapping[str, Any]], preload: Sequence[str], root: str
) -> tuple[dict[str, Opener], dict[str, str]]:
    """Import everything -> (open function of each role, reason for each role that has none)."""
    for name in preload:
        importlib.import_module(name)
    if "torch" in preload:
        _warm_torch()
    openers: dict[str, Opener] = {}
    missing: dict[str, str] = {}
    sys.path.append(root)  # last, so that nothing in the project hides an installed module
    for role, declared in roles.items():
        try:
            openers[role] = importlib.import_module(declared["module"]).open
        except Exception as error:  # noqa: BLE001  reported when the role is asked for
            missing[role] = f"{declared['module']} cannot be loaded: {type(error).__name__}: {error}"
    sys.path.remove(root)
    return openers, missing


def _warm_torch() -> None:
    """One thread, and the first use of fake tensors, which imports hundreds of modules (measured: 1 s)."""
    import torch  # noqa: PLC0415  only if asked for
    from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC0415

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    with FakeTensorMode(), torch.no_grad():
        torch.empty(2, 3).transpose(0, 1).contiguous()
        torch.empty(2, 3) @ torch.empty(3, 2)


def _readable_paths() -> Iterator[str]:
    """The standard library, installed packages, and where modules already loaded came from."""
    known = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    known |= {*site.getsitepackages(), site.getusersitepackages()}
    for name, module in tuple(sys.modules.items()):
        if "." in name or name == "__main__":
            continue
        origin = getattr(module, "__file__", None)
        known |= set(getattr(module, "__path__", ())) or ({origin} if origin else set())
    kept: list[str] = []
    for path in sorted(os.path.realpath(path) for path in known if os.path.exists(path)):
        if not kept or not path.startswith(kept[-1] + "/"):
            kept.append(path)
    return iter(kept)


def _executable_paths() -> Iterator[str]:
    """The folder of the assemblers that the Triton wheel brings along."""
    triton = sys.modules.get("triton")
    for folder in getattr(triton, "__path__", ()):
        yield os.path.join(folder, "backends")


def _close_from(first: int) -> None:
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) >= first:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(entry))


def _remove(folder: str) -> None:
    """Remove a folder that something hostile wrote in; symbolic links are not followed."""
    shutil.rmtree(folder, ignore_errors=True)


# ----------------------------------------------------------------------------------------------------- in the
# worker


def _work(settings: confine.Confinement, prepared: Any, opener: Opener) -> int:
    """Lock up, then answer requests until the judge hangs up. Returns the exit status."""
    channel = wire.Channel(_CONNECTION)
    # Libraries ask for this folder when imported; "/" is one that a closed worker can name and not write in.
    tempfile.tempdir = settings.scratch or "/"
    try:
        confine.confine(settings, prepared)
    except Exception as error:  # noqa: BLE001  nothing of the candidate was read; the judge hears why
        nonce = channel.receive(max_bytes=_REQUEST_BYTES).nonce
        _fail(channel, nonce, "refused", f"it could not be confined: {type(error).__name__}: {error}")
        return 71
    handler: Handler | None = None
    while True:
        try:
            frame = channel.receive(max_bytes=_REQUEST_BYTES)
        except wire.Closed:
            return 0
        try:
            if frame.kind == wire.OPEN:
                handler = opener(bytes(frame.blobs[0]))
                parts = wire.encode(wire.REPLY, frame.nonce, {})
            else:
                assert handler is not None
                views = [memoryview(blob) for blob in frame.blobs]
                header, blobs = handler.handle(frame.header["method"], frame.header["header"], views)
                parts = wire.encode(wire.REPLY, frame.nonce, header, blobs)
        except wire.Refusal as refusal:
            said = {"rule": refusal.rule, "message": refusal.message, "line": refusal.line}
            parts = wire.encode(wire.REFUSAL, frame.nonce, said)
        except BaseException as error:  # noqa: BLE001  SystemExit from a candidate is a crash like any other
            _fail(channel, frame.nonce, "memory" if _is_memory(error) else "crashed", _describe(error))
            return 1
        channel.send(parts)


def _fail(channel: wire.Channel, nonce: bytes, kind: str, detail: str) -> None:
    channel.send(wire.encode(wire.FAILURE, nonce, {"kind": kind, "detail": detail}))


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and any(
        text in str(error).lower() for text in _NO_MEMORY
    )


def _describe(error: BaseException) -> str:
    """`<type>: <message> (last frames)`; a candidate's own exception may misbehave when asked."""
    try:
        message = str(error)[:2000]
    except BaseException:  # noqa: BLE001  see above
        message = "(its message could not be formed)"
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = " <- ".join(
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )
    return f"{type(error).__name__}: {message} ({where})"
