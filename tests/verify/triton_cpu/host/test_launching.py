"""Launches of ordinary Triton code run on the caller's own tensors, as a device would see them."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
import triton
from triton.runtime.jit import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

from tests.verify.triton_cpu.host import kernels
from verify.errors import InfrastructureError
from verify.triton_cpu import private
from verify.triton_cpu.host import A100, Options, attach, session
from verify.triton_cpu.host.device import Driver
from verify.triton_cpu.interpreter.launch import KernelError, WorkLimits


def test_a_launch_writes_into_the_tensors_it_was_given() -> None:
    with attach() as host:
        x = torch.arange(10, dtype=torch.float32, device="cuda")
        out = torch.empty_like(x)
        address = out.data_ptr()
        kernels.scale[(triton.cdiv(10, 4),)](x, out, 10, 0.5, BLOCK=4)
        kernels.scale[lambda meta: (triton.cdiv(10, meta["BLOCK"]),)](x, out[5:], 5, 2.0, BLOCK=4)
    assert out.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 0.0, 2.0, 4.0, 6.0, 8.0]
    assert out.data_ptr() == address
    assert (host.events, host.torch_reads, host.counters.launches) == ((), (), 2)


def test_everything_is_put_back() -> None:
    watched = [
        (JITFunction, "run"),
        (triton.runtime.autotuner.Autotuner, "run"),
        (torch, "compile"),
        *((torch.cuda, name) for name in ("is_available", "device", "Stream", "current_device")),
    ]
    before = [getattr(owner, name) for owner, name in watched]
    with pytest.raises(ZeroDivisionError), attach():
        assert torch.cuda.is_available()
        assert torch.zeros(1).is_cuda
        assert isinstance(triton.runtime.driver.active, Driver)
        raise ZeroDivisionError
    assert [getattr(owner, name) for owner, name in watched] == before
    assert not torch.zeros(1).is_cuda
    assert "is_cuda" not in vars(torch.Tensor)
    assert not isinstance(triton.runtime.driver._active, Driver)
    assert torch.empty(3).untyped_storage().nbytes() == 12


def test_attachments_do_not_nest() -> None:
    with attach(), pytest.raises(RuntimeError, match="expected one attachment"), attach():
        pass


def test_triton_s_own_interpreter_and_a_wrong_known_answer_are_refused(monkeypatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(triton.knobs.runtime, "interpret", True)
        with pytest.raises(InfrastructureError, match="expected TRITON_INTERPRET to be unset"), attach():
            pass
    monkeypatch.setattr(session, "_selftest", lambda: ("fma: expected 1, got 2",))
    with pytest.raises(InfrastructureError, match="self-test fails: fma"), attach():
        pass


def test_an_autotuner_s_key_may_name_what_its_kernel_does_not_have() -> None:
    with attach():
        kernel = triton.autotune([triton.Config({"BLOCK": 4})], key=["n", "gone"])(kernels.scale)
    assert kernel.keys == ["n"]


def test_host_code_sees_the_device_it_asks_for() -> None:
    with attach(Options(device=A100)):
        assert torch.cuda.get_device_capability() == (8, 0)
        assert triton.runtime.driver.active.get_current_target().arch == 80
        assert torch.cuda.get_device_properties(0).multi_processor_count == 108
        with torch.device("cuda"):
            assert torch.zeros(2).device.type == "cuda"
        assert torch.nn.Linear(2, 2).to("cuda:0").weight.is_cuda
        with torch.cuda.device(0), torch.cuda.stream(torch.cuda.Stream()):
            assert torch.ones(2, device=torch.device("cuda", 0)).cuda().sum() == 2


def test_numbers_have_the_types_that_the_compiler_gives_them() -> None:
    with attach():
        out = torch.zeros(6, dtype=torch.int32)
        kernels.describe[(1,)](out, 1, 3, 2**40, 3, 0.1, True, None)
    assert out.tolist() == [1, 32, 64, 64, 64, 7]


class Pair(NamedTuple):
    x: torch.Tensor
    shift: int


def test_tuples_arrive_with_their_members_and_names() -> None:
    with attach():
        x, out = torch.arange(4.0), torch.zeros(4)
        kernels.from_tuple[(1,)]((x, (1, 3)), out, BLOCK=4)
        assert out.tolist() == [1.0, 4.0, 7.0, 10.0]
        kernels.from_named[(1,)](Pair(x, 5), out, BLOCK=4)
    assert out.tolist() == [5.0, 6.0, 7.0, 8.0]


def test_descriptors_made_on_the_host_read_their_blocks() -> None:
    with attach() as host:
        x = torch.arange(16 * 16, dtype=torch.float32).reshape(16, 16)
        out = torch.empty(8, 8)
        kernels.block_of[(1,)](TensorDescriptor.from_tensor(x, [8, 8]), out, 12, BLOCK=8)
    expected = torch.zeros(8, 8)
    expected[:4] = x[12:, :8]
    assert torch.equal(out, expected)
    assert host.events == ()


@pytest.mark.skipif(private.VERSION < (3, 7), reason="Triton 3.7 is the first whose descriptors can round")
def test_descriptors_that_round_to_tf32_do_so_when_they_load() -> None:
    step = 2.0**-10
    with attach():
        x = torch.full((16, 16), 1 + 1.5 * step)  # a tie, which goes to the even neighbour
        out = torch.empty(8, 8)
        descriptor = TensorDescriptor.from_tensor(x, [8, 8], round_f32_to_tf32=True)
        kernels.block_of[(1,)](descriptor, out, 0, BLOCK=8)
    assert torch.equal(out, torch.full((8, 8), 1 + 2 * step))


def test_a_table_of_addresses_leads_to_the_tensors_that_gave_them() -> None:
    with attach() as host:
        parts = [torch.full((4,), float(at)) for at in range(3)]
        table, out = torch.tensor([part.data_ptr() for part in parts]), torch.empty(12)
        kernels.from_table[(3,)](table, out, BLOCK=4)
        assert out.tolist() == [1.0] * 4 + [2.0] * 4 + [3.0] * 4
        assert host.events == ()
        kernels.from_table[(1,)](table + 8, out, BLOCK=4)
    assert [(event.kind, event.count) for event in host.events] == [("unknown pointer", 2)]


def test_pointers_chosen_lane_by_lane_reach_each_their_own_tensor() -> None:
    with attach() as host:
        x, y, out = torch.ones(4), torch.full((4,), 2.0), torch.empty(2, 4)
        kernels.chosen[(1,)]((x, y), out, BLOCK=4)
    assert out.tolist() == [[2.0] * 4, [4.0] * 4]
    assert (x.tolist(), y.tolist()) == ([-1.0, 1.0, 1.0, 1.0], [-1.0, 2.0, 2.0, 2.0])
    assert host.events == ()


def test_names_captured_before_the_attachment_work() -> None:
    with attach():
        x, out = torch.tensor([1.0, 4.0, 16.0, 64.0]), torch.zeros(4)
        kernels.captured[(1,)](x, torch.tensor([3, 2, 1, 0]), out, BLOCK=4)
        assert out.tolist() == [0.125, 0.25, 0.5, 1.0]
        kernels.assembled[(1,)](x, out, BLOCK=4)
    assert out.tolist() == [2.0, 8.0, 32.0, 128.0]


@pytest.mark.parametrize(
    ("policy", "n", "block", "filled"),
    [("first", 16, 4, 0), ("last", 16, 16, -1), ("last", 12, 8, 0), (lambda _, some: some[1], 16, 8, 0)],
)
def test_the_policy_chooses_among_pruned_configurations(policy, n, block, filled) -> None:
    with attach(Options(policy=policy)):
        out = torch.zeros(3, dtype=torch.int32)
        kernels.tuned[(1,)](out, n)
    assert out.tolist() == [block, int(n % block == 0), filled]


def test_random_choices_follow_the_seed() -> None:
    def chosen(seed: int) -> list[int]:
        blocks = []
        with attach(Options(policy="random", seed=seed)):
            out = torch.zeros(3, dtype=torch.int32)
            for n in range(16, 26):
                kernels.tuned[(1,)](out, n)
                blocks.append(int(out[0]))
        return blocks

    assert chosen(1) == chosen(1) != chosen(2)
    assert set(chosen(1)) == {4, 8, 16}


def test_unknown_policies_and_options_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a policy"), attach(Options(policy="fastest")):
        pass
    with attach(), pytest.raises(KeyError, match="num_wraps"):
        kernels.scale[(1,)](torch.ones(4), torch.ones(4), 4, 1.0, BLOCK=4, num_wraps=4)


def test_float32_dots_round_as_on_the_device_unless_told_otherwise() -> None:
    x, y = torch.eye(16) * (1 + 2**-12), torch.eye(16)
    answers = []
    for precision in (None, "ieee"):
        with attach(Options(default_precision=precision)):
            out = torch.zeros(16, 16)
            kernels.product[(1,)](x, y, out, BLOCK=16)
        answers.append(float(out[0, 0]))
    assert answers == [1.0, 1 + 2**-12]


def test_a_wait_for_another_program_ends_at_the_limit() -> None:
    flag = torch.zeros(1, dtype=torch.int32)
    with attach(Options(limits=WorkLimits(wait_steps=100))):
        with pytest.raises(
            KernelError, match=r"at most 100 steps of a program's while loops.*wait for another"
        ):
            kernels.wait_for[(1,)](flag)
        kernels.wait_for[(200,)](flag.fill_(1))
    with attach(Options(limits=WorkLimits(loop_steps=50))), pytest.raises(KernelError, match="50 loop steps"):
        kernels.wait_for[(1,)](flag.zero_())


def test_a_gluon_kernel_is_refused_by_name() -> None:
    with attach(), pytest.raises(KernelError, match="got a Gluon one"):
        kernels.on_a_device[(1,)](torch.zeros(1))


def test_a_grid_that_no_device_launches_is_an_error_and_an_empty_one_is_not() -> None:
    with attach() as host:
        x = torch.ones(4)
        kernels.scale[(0,)](x, x, 4, 2.0, BLOCK=4)
        with pytest.raises(KernelError, match="65535 programs along axis 1"):
            kernels.scale[(1, 65536)](x, x, 4, 2.0, BLOCK=4)
    assert x.tolist() == [1.0] * 4
    assert host.counters.launches == 0


class Doubled(torch.autograd.Function):
    """A library's function: it asks tensors where they are, forward and backward."""

    @staticmethod
    def forward(ctx, x):
        assert x.is_cuda
        return Doubled.launched(x)

    @staticmethod
    def backward(ctx, gradient):
        assert gradient.device.type == "cuda"
        return Doubled.launched(gradient.contiguous())

    @staticmethod
    def launched(x: torch.Tensor) -> torch.Tensor:
        out = torch.empty(x.shape, device=torch.device("cuda", torch.cuda.current_device()))
        kernels.scale[(1,)](x, out, x.numel(), 2.0, BLOCK=4)
        return out


@pytest.mark.parametrize("by", ["backward", "grad"])
def test_libraries_see_cuda_tensors_also_in_backward(by: str) -> None:
    with attach():
        x = torch.ones(3, device="cuda", requires_grad=True)
        assert (x.device, x.get_device(), x.cpu().sum().item()) == (torch.device("cuda", 0), 0, 3.0)
        total = Doubled.apply(x).sum()
        if by == "backward":
            total.backward()
            gradient = x.grad
        else:
            (gradient,) = torch.autograd.grad(total, x)
    assert gradient.tolist() == [2.0] * 3
    assert gradient.device.type == "cpu"
