"""A device as the judge sees it: a warm server of its own, whose workers drive it, and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

from verify.device.facts import DeviceFacts, facts_of
from verify.errors import InfrastructureError
from verify.sandbox.client import Limits, RemoteRefusal, Role, Server, WorkerFailure
from verify.sandbox.confine import DEVICE_VARIABLES

Kind = Literal["cuda", "cpu"]

CUDA_ROLES: Mapping[str, Role] = {
    "device": Role(module="verify.roles.device", profile="device"),
    "timing": Role(module="verify.roles.timing", profile="device"),
    "baseline": Role(module="verify.roles.baseline", profile="device"),
}
CPU_ROLES: Mapping[str, Role] = {"baseline": Role(module="verify.roles.cpu_baseline")}
"""On a CPU only definitions are timed, which exercises the clock and everything around it."""

LIMITS = Limits(memory_bytes=24 << 30, seconds=300.0, reply_bytes=2 << 30, cpu_seconds=3600.0)


class NoDevice(InfrastructureError):
    """There is no device of the kind that was asked for, or nothing runs on it."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """`server` has the roles of its kind; `described` is what `verify.device.hardware.describe` gave."""

    kind: Kind
    server: Server
    described: Mapping[str, Any]
    facts: DeviceFacts = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", facts_of(self.described))

    @property
    def name(self) -> str:
        """What a verdict writes as evidence: "device:NVIDIA H100 80GB HBM3"."""
        return f"device:{self.described['name']}"

    @property
    def slug(self) -> str:
        """The name of its file under `measured/`."""
        return str(self.described["slug"])

    @property
    def isolation(self) -> str:
        """What confines its workers: "landlock" (writes) or "none"; a driver cannot work behind seccomp."""
        if self.kind == "cpu":
            return self.server.isolation
        return "landlock" if "landlock" in self.server.isolation else "none"


def attach(kind: Kind) -> Device:
    """Start the server and see that a kernel of ours runs. Close `Device.server` when done.

    Raises NoDevice, or `SandboxError` where workers cannot be started at all.
    """
    if kind == "cpu":
        server, role = Server(roles=CPU_ROLES), "baseline"
    else:
        # Without torch's warm-up: a process that has asked for devices cannot be forked from any more.
        server, role = Server(roles=CUDA_ROLES, preload=("numpy",), keep=DEVICE_VARIABLES), "device"
    try:
        with closing(server.worker(role, source=b"", limits=LIMITS)) as worker:
            described, _ = worker.call("describe", {})
        return Device(kind=kind, server=server, described=described)
    except (RemoteRefusal, WorkerFailure) as error:
        server.close()
        said = error.message if isinstance(error, RemoteRefusal) else str(error)
        raise NoDevice(f"{said}. Use --device cpu on this machine.") from None
    except BaseException:
        server.close()
        raise
