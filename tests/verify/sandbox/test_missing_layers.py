"""What still holds where a layer is missing, and that the server says so."""

from __future__ import annotations

import errno

import pytest

from tests.verify.sandbox.conftest import ROLES
from verify.sandbox.client import Role, Server

NO_LANDLOCK = Role(module="tests.verify.sandbox.without_landlock")
NO_SECCOMP = Role(module="tests.verify.sandbox.without_seccomp")


def attempt(server: Server, what: str) -> int | None:
    with server.worker("hostile", source=b"") as worker:
        header, _ = worker.call("attempt", {"what": what})
    number: int | None = header.get("errno")
    return number


@pytest.mark.parametrize(
    ("missing", "isolation"),
    [
        ({"one": NO_LANDLOCK}, "seccomp"),
        ({"one": NO_SECCOMP}, "landlock"),
        ({"one": NO_LANDLOCK, "other": NO_SECCOMP}, "none"),
    ],
)
def test_the_server_says_what_held(missing: dict[str, Role], isolation: str) -> None:
    with Server(roles={**ROLES, **missing}, preload=()) as server:
        assert server.isolation == isolation
        with server.worker("plain", source=b"") as worker:
            assert worker.call("echo", {"a": 1}) == ({"a": 1}, [])


def test_seccomp_alone_denies_network_processes_and_writing() -> None:
    tried = [
        "socket",
        "fork",
        "exec",
        "kill the parent",
        "write in /tmp",
        "write in the package",
        "remove a file",
    ]
    with Server(roles={**ROLES, "one": NO_LANDLOCK}, preload=()) as server:
        assert {what: attempt(server, what) for what in tried} == dict.fromkeys(tried, errno.EPERM)


def test_landlock_alone_denies_reading_and_writing() -> None:
    tried = [
        "read /etc/passwd",
        "read the project",
        "read own environment",
        "write in /tmp",
        "write in the package",
    ]
    with Server(roles={**ROLES, "one": NO_SECCOMP}, preload=()) as server:
        assert {what: attempt(server, what) for what in tried} == dict.fromkeys(tried, errno.EACCES)
