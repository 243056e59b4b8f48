"""One server for the tests of a file, and after each test: nothing left behind, and the next worker
unharmed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from verify.sandbox.client import Role, Server

ROLES = {
    "plain": Role(module="tests.verify.sandbox.plain_role"),
    "hostile": Role(module="tests.verify.sandbox.hostile_role"),
    "broken": Role(module="tests.verify.sandbox.no_such_module"),
    "compile": Role(module="tests.verify.sandbox.compile_role", profile="compile"),
}


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def group_members(group: int) -> list[int]:
    """Processes of a process group, zombies included."""
    members = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            members.append(int(folder.name))
    return members


@pytest.fixture(scope="module")
def light_server() -> Iterator[Server]:
    """Starts in a tenth of a second, because it imports no torch."""
    with Server(roles=ROLES, preload=()) as server:
        assert server.isolation == "landlock+seccomp"
        yield server


@pytest.fixture
def server(light_server: Server) -> Iterator[Server]:
    assert light_server.isolation
    scratch = Path(str(light_server._scratch))
    before = sorted(scratch.iterdir())
    yield light_server
    assert children(light_server.pid) == []
    assert sorted(scratch.iterdir()) == before
    with light_server.worker("plain", source=b"") as worker:
        assert worker.call("echo", {"still": "here"}) == ({"still": "here"}, [])
