"""On a real device: skeletons are right, wrong kernels are found, and times are believable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.verify.device.test_execution import CASE, STORE
from verify.device.attach import LIMITS, Device, attach
from verify.device.bench import measure
from verify.judge.cases import SHAPES
from verify.judge.judge import Judge
from verify.judge.runs import finish, start
from verify.judge.session import Session
from verify.sandbox.client import Server
from verify.source.static import check_static

TEMPLATES = Path(__file__).parents[3] / "templates"
SKELETONS = sorted(TEMPLATES.glob("*/v*/*.py"))

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cuda() -> Iterator[Device]:
    device = attach("cuda")
    with closing(device.server):
        yield device


def opened(server: Server, source: str, device: Device | None) -> Session:
    mechanism = check_static(source.encode(), path="m.py").mechanism
    assert mechanism is not None
    return Session(server, mechanism, LIMITS, device=device and device.server)


@pytest.mark.parametrize("path", SKELETONS, ids=lambda path: path.stem)
def test_a_skeleton_is_clean_on_the_device(server: Server, cuda: Device, path: Path) -> None:
    judge = Judge(server, require_isolation=False, device=cuda)
    verdict = judge.check(path.read_bytes(), path=path.name, depth="quick")
    assert [finding.render(path.name) for finding in verdict.findings] == []
    assert {verdict.evidence[stage] for stage in ("NUM", "GRD", "MEM")} == {cuda.name}


@pytest.mark.parametrize(
    ("new", "rules"),
    [
        ("o.to(o_ptr.dtype.element_ty) * 1.01, mask=columns < V)", {"NUM-OUTPUT"}),
        ("o.to(o_ptr.dtype.element_ty), mask=columns < V - 1)", {"MEM-UNCOVERED"}),
        ("o.to(o_ptr.dtype.element_ty))", {"MEM-GUARD"}),
    ],
    ids=["value", "uncovered", "guard"],
)
def test_wrong_kernels_show_on_the_device(
    server: Server, cuda: Device, honest: str, new: str, rules: set[str]
) -> None:
    assert STORE in honest
    with opened(server, honest.replace(STORE, new, 1), cuda) as session:
        outcome = finish(session, start(session, CASE, 7, poison=0xFF))
    assert {finding.rule for finding in outcome.findings} >= rules


def test_a_store_far_outside_is_a_fault_or_a_damaged_guard(server: Server, cuda: Device, honest: str) -> None:
    far = "o.to(o_ptr.dtype.element_ty), mask=columns < V)\n        tl.store(o_ptr + (1 << 40) + columns, o)"
    with opened(server, honest.replace(STORE, far, 1), cuda) as session:
        outcome = finish(session, start(session, CASE, 7, poison=0xFF))
    assert {finding.rule for finding in outcome.findings} & {"MEM-DEVICE-FAULT", "MEM-GUARD"}


@pytest.mark.parametrize("path", SKELETONS[:1], ids=lambda path: path.stem)
def test_a_skeleton_is_timed_and_its_clocks_agree(server: Server, cuda: Device, path: Path) -> None:
    forms = ("kernels", "eager")
    with opened(server, path.read_text(), None) as session:
        found = measure(session, cuda, shapes=SHAPES[:1], seed=1, forms=forms, repetitions=7)
    assert [finding.render(path.name) for finding in found.findings] == []
    assert found.refused == []
    (row,) = found.rows
    assert row["forms"]["kernels"]["refused"] is None
    assert row["forms"]["kernels"]["microseconds"] > 0
    assert row["tokens_per_second"] > 0


def test_the_device_is_described(cuda: Device) -> None:
    assert cuda.described["capability"]
    assert cuda.facts.l2_bytes
    assert cuda.name == f"device:{cuda.described['name']}"
