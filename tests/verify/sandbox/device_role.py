"""A role for the tests of the profile "device": does what a driver does, and tries what it may not."""

from __future__ import annotations

import mmap
import os
import resource
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from verify.sandbox import wire


def reserve_all_addresses() -> None:
    no_reserve = 0x4000  # MAP_NORESERVE, which Python 3.11 does not name
    mmap.mmap(-1, 1 << 42, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve, prot=0)


ALLOWED: dict[str, Callable[[], object]] = {
    "run a compiler": lambda: subprocess.run(["/bin/true"], check=True),
    "write in its scratch folder": lambda: Path.home().joinpath("x").write_text("x"),
    "open a device": lambda: Path("/dev/zero").open("r+b").close(),
    "read what the system says about itself": lambda: Path("/proc/self/maps").read_text(),
    "reserve addresses": reserve_all_addresses,
}
DENIED: dict[str, Callable[[], object]] = {
    "write in /tmp": lambda: Path("/tmp/written-by-a-worker").write_text("x"),
    "write in the package": lambda: Path(wire.__file__).open("a"),
    "remove a file": lambda: os.unlink(wire.__file__),
    "write in another's scratch": lambda: Path.home().parent.joinpath("x").write_text("x"),
}


class Handler:
    def handle(
        self, method: str, header: Mapping[str, Any], blobs: Sequence[memoryview]
    ) -> tuple[Mapping[str, Any], Sequence[bytes]]:
        if method == "environment":
            return {**os.environ}, []
        if method == "limits":
            return {"core": resource.getrlimit(resource.RLIMIT_CORE)}, []
        try:
            (ALLOWED | DENIED)[header["what"]]()
        except OSError as error:
            return {"errno": error.errno}, []
        return {"errno": None}, []


def open(source: bytes) -> Handler:
    return Handler()
