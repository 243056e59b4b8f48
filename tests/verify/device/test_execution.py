"""What a device shows of a wrong kernel: guard zones, poison and repetition, beside wrong numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.verify.device.conftest import Open
from verify.device.attach import Device
from verify.device.execution import GUARD_BYTES, DeviceExecutor, Memory
from verify.judge.cases import Case
from verify.judge.judge import Judge
from verify.judge.runs import finish, start
from verify.judge.verdict import Verdict
from verify.plan.format import BufferDecl, Fill, Launch, Plan, TensorRef
from verify.sandbox.client import Server

CASE = Case(sizes=(("B", 1), ("T", 5), ("H", 2), ("K", 3), ("V", 5)), dtype="float32")
STORE = "o.to(o_ptr.dtype.element_ty), mask=columns < V)"
FINAL = "tl.store(final_ptr + i_bh * K * V + tile, S, mask=inside)"


def rules_on_device(on_device: Open, source: str, *, poison: int = 0xFF) -> set[str]:
    session = on_device(source)
    outcome = finish(session, start(session, CASE, 7, poison=poison))
    return {finding.rule for finding in outcome.findings}


@pytest.mark.parametrize("poison", [0xFF, 0x5A])
def test_an_honest_mechanism_is_clean_on_a_device(on_device: Open, honest: str, poison: int) -> None:
    assert rules_on_device(on_device, honest, poison=poison) == set()


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (STORE, "o.to(o_ptr.dtype.element_ty) * 1.01, mask=columns < V)", "NUM-OUTPUT"),
        ("d_q = tl.sum(after * d_o[None, :], 1)", "d_q = tl.sum(before * d_o[None, :], 1)", "GRD-VALUE"),
        (STORE, "o.to(o_ptr.dtype.element_ty), mask=columns < V - 1)", "MEM-UNCOVERED"),
        (STORE, "o.to(o_ptr.dtype.element_ty))", "MEM-GUARD"),
        (
            FINAL,
            f"tl.store(initial_ptr + i_bh * K * V + tile, S, mask=inside)\n    {FINAL}",
            "MEM-INPUT-CHANGED",
        ),
        # Poison that was copied looks as if nothing had been written; once it is computed with, it differs.
        ("total = tl.load(parts_ptr + i_h)", "total = tl.load(total_ptr + i_h)", "MEM-UNCOVERED"),
        ("total = tl.load(parts_ptr + i_h)", "total = tl.load(total_ptr + i_h) + 1.0", "MEM-POISON"),
        (
            "S = tl.load(initial_ptr + i_bh * K * V + tile, mask=inside, other=0.0)",
            "S = tl.load(initial_ptr + i_bh * K * V + tile + K * V, mask=inside, other=0.0)",
            "MEM-POISON",
        ),
        ("S + k[:, None] * v[None, :]", "S + k[:, None] * v[:, None]", "NUM-KERNEL-ERROR"),
    ],
    ids=["output", "gradient", "uncovered", "guard", "input", "copied", "unwritten", "outside", "error"],
)
def test_each_kind_of_wrong_shows_on_a_device(
    on_device: Open, honest: str, old: str, new: str, rule: str
) -> None:
    assert old in honest
    assert rule in rules_on_device(on_device, honest.replace(old, new, 1))


@pytest.mark.slow
def test_a_device_is_the_evidence_for_what_ran_there_and_for_nothing_else(
    server: Server, stand_in: Device, honest: str, clean: Verdict
) -> None:
    here = clean
    there = Judge(server, device=stand_in).check(honest.encode(), path="m.py", depth="quick")
    assert [finding.render("m.py") for finding in there.findings] == []
    on_device = {stage for stage, shown in there.evidence.items() if shown == "device:Stand-in"}
    assert on_device >= {"NUM", "GRD", "MEM"}
    assert there.evidence["POL"] == here.evidence["POL"] == "source"
    assert there.stages == here.stages
    assert {here.evidence[stage] for stage in ("NUM", "GRD", "MEM")} == {"interpreter"}
    assert "device" not in here.to_bytes().decode()
    assert there.isolation == "landlock+seccomp; on the device landlock"


class Unstable:
    """A kernel whose programs race: other bits each time."""

    def __init__(self) -> None:
        self.launches = 0

    def __getitem__(self, grid: tuple[int, int, int]) -> Any:
        def launch(*, y: torch.Tensor, num_warps: int, num_stages: int) -> None:
            self.launches += 1
            y.fill_(float(self.launches))

        return launch


def ref(buffer: int, *shape: int) -> TensorRef:
    strides = tuple(torch.empty(shape, device="meta").stride())
    return TensorRef(buffer=buffer, dtype="float32", shape=shape, strides=strides, offset=0)


def plan_of(*steps: Fill | Launch) -> Plan:
    x = BufferDecl(nbytes=20, argument="x", label="x")
    y = BufferDecl(nbytes=12, argument=None, label="y")
    return Plan(
        buffers=(x, y),
        forward=steps,
        output=ref(1, 3),
        state=(),
        residuals=(),
        backward=(),
        gradients=None,
    )


def test_results_that_change_from_run_to_run_are_an_event() -> None:
    arguments = (("y", ref(1, 3)),)
    launch = Launch(kernel="k", arguments=arguments, grid=(1, 1, 1), num_warps=1, num_stages=1, line=3)
    done = DeviceExecutor({"k": Unstable()}, "cpu").run(
        plan_of(launch), {"x": bytes(20)}, ((), ("x",)), poison=0xFF
    )
    assert [event.kind for event in done.events] == ["different bits in a second run"]
    assert done.events[0].buffer == "output"
    assert done.counters["launches"] == done.counters["programs"] == 1


@pytest.mark.parametrize("poison", [0xFF, 0x5A])
def test_bytes_that_nothing_wrote_are_counted_whatever_the_poison(poison: int) -> None:
    part = TensorRef(buffer=1, dtype="float32", shape=(2,), strides=(1,), offset=0)
    fill = Fill(out=part, value=float("nan"), line=1)
    done = DeviceExecutor({}, "cpu").run(plan_of(fill), {"x": bytes(20)}, ((), ("x",)), poison=poison)
    assert done.uncovered == {"output": 4}
    assert done.events == ()


@pytest.mark.parametrize("offset", [-1, 20, 20 + GUARD_BYTES - 1])
def test_a_byte_beside_a_buffer_damages_its_guard(offset: int) -> None:
    memory = Memory(plan_of(), {0: bytes(20)}, 0x5A, "cpu")
    assert memory.damaged() == ()
    memory._bytes[memory._starts[0] + offset] = 1
    assert memory.damaged() == ("x",)


def test_buffers_begin_where_compiled_code_assumes() -> None:
    memory = Memory(plan_of(), {}, 0, "cpu")
    assert [memory.whole(index).data_ptr() % 16 for index in range(2)] == [0, 0]
