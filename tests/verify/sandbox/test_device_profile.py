"""What a worker that drives a GPU may do, and what Landlock still keeps from it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.verify.sandbox.conftest import ROLES
from tests.verify.sandbox.device_role import ALLOWED, DENIED
from verify.sandbox.client import Role, Server
from verify.sandbox.confine import DEVICE_VARIABLES

DEVICE = Role(module="tests.verify.sandbox.device_role", profile="device")


@pytest.fixture(scope="module")
def light_server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "1")
        patch.setenv("SECRET", "x")
        with Server(roles={**ROLES, "device": DEVICE}, preload=(), keep=DEVICE_VARIABLES) as server:
            yield server


@pytest.mark.parametrize("what", sorted(ALLOWED))
def test_a_device_worker_may_do_what_a_driver_needs(server: Server, what: str) -> None:
    with server.worker("device", source=b"") as worker:
        header, _ = worker.call("attempt", {"what": what})
    assert header["errno"] is None


@pytest.mark.parametrize("what", sorted(DENIED))
def test_a_device_worker_writes_nowhere_else(server: Server, what: str) -> None:
    with server.worker("device", source=b"") as worker:
        header, _ = worker.call("attempt", {"what": what})
    assert header["errno"] == errno.EACCES
    assert not Path("/tmp/written-by-a-worker").exists()


def test_a_device_worker_sees_which_device_was_chosen_and_nothing_else_of_the_user(server: Server) -> None:
    with server.worker("device", source=b"") as worker:
        environment, _ = worker.call("environment", {})
        limits, _ = worker.call("limits", {})
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert "SECRET" not in environment
    assert Path(environment["CUDA_CACHE_PATH"]).parent == Path(environment["HOME"])
    assert limits["core"] == [0, 0]


def test_the_choice_of_a_device_does_not_reach_other_workers(server: Server) -> None:
    with server.worker("hostile", source=b"") as worker:
        header, _ = worker.call("look", {})
    assert "CUDA_VISIBLE_DEVICES" not in header["environment"]
