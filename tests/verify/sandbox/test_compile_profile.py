from __future__ import annotations

import errno
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.verify.sandbox.compile_role import ATTEMPTS
from tests.verify.sandbox.conftest import ROLES, children, group_members
from verify.sandbox.client import Server


@pytest.fixture(scope="module")
def light_server() -> Iterator[Server]:
    """With Triton, whose wheel brings the programs that this profile may run."""
    with Server(roles=ROLES, preload=("triton",)) as server:
        yield server


@pytest.mark.parametrize("what", sorted(ATTEMPTS))
def test_a_compiling_worker_is_denied(server: Server, what: str) -> None:
    with server.worker("compile", source=b"") as worker:
        header, _ = worker.call("attempt", {"what": what})
    assert header["errno"] in {errno.EPERM, errno.EACCES}


def test_a_compiling_worker_runs_the_assembler_of_the_wheel(server: Server) -> None:
    spec = importlib.util.find_spec("triton")
    assert spec is not None
    assert spec.origin is not None
    ptxas = Path(spec.origin).parent / "backends" / "nvidia" / "bin" / "ptxas"
    with server.worker("compile", source=b"") as worker:
        _, (output,) = worker.call("assemble", {"ptxas": str(ptxas)})
    assert b"ptxas: NVIDIA (R) Ptx optimizing assembler" in output


def test_a_compiling_worker_writes_in_its_scratch_folder_which_is_removed(server: Server) -> None:
    with server.worker("compile", source=b"") as worker:
        header, _ = worker.call("write", {})
        folder = Path(header["folder"])
        assert folder.parent == Path(str(server._scratch))
        assert {Path(header[name]).parent for name in ("file", "cache")} == {folder}
        assert {path.name for path in folder.iterdir()} == {"b", "folder", Path(header["file"]).name}
    assert not folder.exists()


@pytest.mark.parametrize("method", ["child", "orphan"])
def test_what_a_compiling_worker_started_ends_with_it(server: Server, method: str) -> None:
    with server.worker("compile", source=b"") as worker:
        worker.call(method, {})
        pid = worker.pid
        assert len(group_members(pid)) == 2
    assert group_members(pid) == []
    assert children(server.pid) == []


def test_a_compiling_worker_cannot_bomb_the_machine_past_its_end(server: Server) -> None:
    with server.worker("compile", source=b"") as worker:
        for _ in range(20):
            worker.call("child", {})
        pid = worker.pid
    begun = time.monotonic()
    assert group_members(pid) == []
    assert time.monotonic() - begun < 1
