from __future__ import annotations

import errno
import platform
import resource
from pathlib import Path

import pytest

from tests.verify.sandbox.hostile_role import ATTEMPTS
from verify.sandbox.client import Limits, Server, WorkerFailure

FIXED_ENVIRONMENT = {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
NOT_DENIED_BUT_ABSENT = {
    "clone3",
    "openat2",
    "io_uring_setup",
    "pidfd_open",
    "process_madvise",
    "memfd_secret",
    "listmount",
}


@pytest.mark.parametrize("what", sorted(ATTEMPTS))
def test_a_closed_worker_is_denied(server: Server, what: str) -> None:
    with server.worker("hostile", source=b"") as worker:
        header, _ = worker.call("attempt", {"what": what})
    modern = what.removeprefix("system call ") in NOT_DENIED_BUT_ABSENT
    expected = {errno.ENOSYS} if modern else {errno.EPERM, errno.EACCES}
    assert header.get("errno") in expected


def test_a_worker_sees_only_the_fixed_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.worker("hostile", source=b"") as worker:
        header, _ = worker.call("look", {})
    assert header["environment"] == FIXED_ENVIRONMENT


def test_the_judges_environment_does_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_USER", "x")
    with Server(roles={}, preload=()) as server:
        assert server.isolation
        with open(f"/proc/{server.pid}/environ", "rb") as file:
            assert b"SECRET_OF_THE_USER" not in file.read()


def test_a_worker_keeps_only_its_own_connection(server: Server) -> None:
    with server.worker("plain", source=b""), server.worker("hostile", source=b"") as worker:
        header, _ = worker.call("look", {})
    assert header["descriptors"] == [0, 1, 2, 3]


def test_a_worker_leads_a_session_of_its_own(server: Server) -> None:
    with server.worker("hostile", source=b"") as worker:
        header, _ = worker.call("look", {})
    assert header["group"] == header["session"] == header["pid"] == worker.pid


def test_threads_are_bounded_by_memory(server: Server) -> None:
    with server.worker("hostile", source=b"", limits=Limits(memory_bytes=64 << 20)) as worker:
        header, _ = worker.call("threads", {})
    assert 1 <= header["count"] <= 64


def test_modules_can_still_be_imported_in_a_worker(server: Server) -> None:
    source = b"import sqlite3, numpy, verify.findings, xml.dom.minidom\nassert numpy.ones(3).sum() == 3"
    with server.worker("hostile", source=source) as worker:
        worker.ready()


def test_a_file_beside_the_project_hides_no_module(server: Server) -> None:
    source = b"import sys, verify\nroot = verify.__path__[0].rpartition('/')[0]\nassert root not in sys.path"
    with server.worker("hostile", source=source) as worker:
        worker.ready()


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def test_a_worker_has_no_capability_but_to_read(server: Server) -> None:
    with server.worker("plain", source=b"") as worker:
        status = status_of(worker.ready().pid)
    may_read = 1 << 2
    for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert int(status[name], 16) & ~may_read == 0, name


def test_a_worker_gains_no_privilege_by_running_a_program(server: Server) -> None:
    with server.worker("compile", source=b"") as worker:
        status = status_of(worker.ready().pid)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize(
    ("name", "bound"), [("FSIZE", 0), ("CORE", 0), ("NOFILE", 64), ("MEMLOCK", 0), ("MSGQUEUE", 0)]
)
def test_a_closed_worker_has_hard_limits(server: Server, name: str, bound: int) -> None:
    with server.worker("plain", source=b"") as worker:
        limits = resource.prlimit(worker.ready().pid, getattr(resource, f"RLIMIT_{name}"))
    assert limits == (bound, bound)


def test_a_worker_is_the_first_to_go_when_memory_runs_out(server: Server) -> None:
    with server.worker("plain", source=b"") as worker:
        assert Path(f"/proc/{worker.ready().pid}/oom_score_adj").read_text().strip() == "1000"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the x32 calls exist on x86_64 only")
def test_a_call_of_another_architecture_kills(server: Server) -> None:
    with server.worker("hostile", source=b"") as worker, pytest.raises(WorkerFailure, match="SIGSYS"):
        worker.call("misdeed", {"what": "x32 call"})
