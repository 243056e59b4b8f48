"""A recorded launch is the specialisation that a device would have compiled."""

from __future__ import annotations

import torch
import triton.language as tl

from tests.verify.triton_cpu.host import kernels
from verify.triton_cpu.compiler.compile import CompilePointer, compile_launch
from verify.triton_cpu.host import Options, attach


def test_launches_are_recorded_in_order_with_their_specialisation() -> None:
    with attach(Options(record=True)) as host:
        x, out = torch.ones(12, dtype=torch.bfloat16), torch.zeros(12)
        kernels.scale[(3,)](x[1:], out, 11, 0.5, BLOCK=4, num_warps=2)
        kernels.tuned[(2, 1)](torch.zeros(3, dtype=torch.int32), 16)
    first, second = host.recording.launches
    assert first.kernel is kernels.scale
    assert first.arguments == {
        "x": CompilePointer(dtype="bfloat16", divisible16=False),
        "out": CompilePointer(dtype="float32", divisible16=True),
        "n": 11,
        "factor": 0.5,
        "BLOCK": 4,
    }
    assert (first.grid, first.num_warps, first.num_stages) == ((3, 1, 1), 2, 3)
    assert first.constexprs == {"BLOCK"}
    facts = first.tensors["x"]
    assert (facts.dtype, facts.shape, facts.stride, facts.offset) == (torch.bfloat16, (11,), (1,), 1)
    assert (facts.storage_bytes, facts.address16) == (24, 2)
    assert second.arguments["BLOCK"] == 4
    assert second.arguments["EVEN"] is True
    assert (second.grid, second.num_warps) == ((2, 1, 1), 1)


def test_a_recorded_launch_compiles_while_attached(tmp_path) -> None:
    with attach(Options(record=True)) as host:
        x, out = torch.ones(12), torch.zeros(12)
        kernels.scale[(3,)](x, out, 12, 0.5, BLOCK=4, num_warps=2)
        launch = host.recording.launches[0]
        report = compile_launch(
            launch.kernel,
            launch.arguments,
            num_warps=launch.num_warps,
            num_stages=launch.num_stages,
            target="sm_90",
            scratch=str(tmp_path),
        )
        assert report.error is None
        assert report.registers > 0
        kernels.scale[(3,)](x, out, 12, 2.0, BLOCK=4, num_warps=2)
    assert out.tolist() == [2.0] * 12


def test_types_and_precisions_given_as_constants_stay_what_they_are() -> None:
    with attach(Options(record=True)) as host:
        x = torch.ones(4)
        kernels.scale[(1,)](x, x, 4, 1.0, BLOCK=tl.constexpr(4))
    assert host.recording.launches[0].arguments["BLOCK"] == 4
