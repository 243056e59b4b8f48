"""With the imports of a real server: what the roles need works, and starting a worker is cheap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.verify.sandbox.conftest import ROLES
from verify.sandbox.client import FULL_ISOLATION, Limits, Role, Server, WorkerFailure

MILLISECOND = 1e-3


@pytest.fixture(scope="module")
def light_server() -> Iterator[Server]:
    with Server(roles={**ROLES, "torch": Role(module="tests.verify.sandbox.torch_role")}) as server:
        yield server


def test_isolation_is_full_where_the_kernel_offers_it(server: Server) -> None:
    assert server.isolation == FULL_ISOLATION


def test_the_server_has_one_thread(server: Server) -> None:
    assert server.isolation
    assert len(list(Path(f"/proc/{server.pid}/task").iterdir())) == 1


def test_gradients_of_gradients_work_in_a_worker(server: Server) -> None:
    values = np.linspace(-1, 1, 32)
    with server.worker("torch", source=b"") as worker:
        header, (blob,) = worker.call("gradient", {}, [values.tobytes()])
    assert header == {"threads": 1}
    assert np.isfinite(np.frombuffer(blob)).all()


def test_two_workers_compute_the_same_bits(server: Server) -> None:
    values = np.linspace(-1, 1, 1024).tobytes()
    answers = []
    for _ in range(2):
        with server.worker("torch", source=b"") as worker:
            answers.append(worker.call("gradient", {}, [values])[1])
    assert answers[0] == answers[1]


def test_fake_tensors_work_in_a_worker(server: Server) -> None:
    with server.worker("torch", source=b"") as worker:
        assert worker.call("fake", {}) == ({"shape": [3, 7]}, [])


def test_linear_algebra_works_in_a_worker(server: Server) -> None:
    with server.worker("torch", source=b"") as worker:
        header, _ = worker.call("decompose", {})
    assert header["sum"] == pytest.approx(32 + 128 + 8192)


def test_torch_out_of_memory_is_reported_as_memory(server: Server) -> None:
    limits = Limits(memory_bytes=256 << 20)
    with server.worker("torch", source=b"", limits=limits) as worker, pytest.raises(WorkerFailure) as failure:
        worker.call("allocate", {"bytes": 50 << 30})
    assert failure.value.kind == "memory"
