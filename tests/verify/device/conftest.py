"""A device that is not there: its workers run the real roles' code, and its kernels in the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.verify.device.stand_in import DESCRIBED
from verify.device.attach import Device
from verify.judge.session import Session
from verify.sandbox.client import Limits, Role, Server
from verify.source.static import check_static

ROLES = {
    "device": Role(module="tests.verify.device.stand_in"),
    "timing": Role(module="tests.verify.device.timing_stand_in"),
    "baseline": Role(module="verify.roles.cpu_baseline"),
}
Open = Callable[[str], Session]


@pytest.fixture(scope="session")
def stand_in() -> Iterator[Device]:
    """Known by no data sheet, confined like a CPU role."""
    with closing(Server(roles=ROLES)) as started:
        yield Device(kind="cuda", server=started, described=DESCRIBED)


@pytest.fixture
def on_device(server: Server, stand_in: Device) -> Iterator[Open]:
    """Opens a session for a source whose plans run on the stand-in."""
    opened = []

    def start(source: str) -> Session:
        mechanism = check_static(source.encode(), path="m.py").mechanism
        assert mechanism is not None
        session = Session(server, mechanism, Limits(), device=stand_in.server)
        opened.append(session)
        return session.__enter__()

    yield start
    for session in opened:
        session.__exit__(None, None, None)
