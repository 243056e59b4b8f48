"""What was never written stays known across launches, views, copies and PyTorch's operators."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.verify.triton_cpu.host import kernels
from verify.triton_cpu.host import Options, attach


def copied(x: torch.Tensor, count: int = 4) -> torch.Tensor:
    """`count` elements of x, by a kernel."""
    out = torch.empty(count)
    kernels.unmasked[(1,)](x, out, BLOCK=count)
    return out


def test_a_kernel_that_reads_empty_memory_is_an_event_with_its_argument() -> None:
    with attach() as host:
        copied(torch.empty(4))
    (event,) = host.events
    assert (event.kind, event.kernel, event.buffer) == ("never-written read", "unmasked", "x")
    assert event.count == 4
    assert event.line == kernels.unmasked.starting_line_number + 3


def test_what_a_launch_wrote_the_next_may_read() -> None:
    with attach() as host:
        copied(copied(copied(torch.ones(4))))
    assert host.events == ()


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.fill_(1.0),
        lambda x: x.copy_(torch.ones(4)),
        lambda x: torch.add(torch.ones(4), 1, out=x),
        lambda x: x.view(2, 2).t().zero_(),
        lambda x: x.index_put_((torch.arange(4),), torch.ones(4)),
        lambda x: x.scatter_(0, torch.arange(4), 2.0),
        lambda x: x.masked_fill_(torch.ones(4, dtype=torch.bool), 3.0),
        lambda x: x.__setitem__(slice(None), 5.0),
        lambda x: x.numpy().fill(2.0),
    ],
)
def test_operators_that_write_all_of_it_leave_nothing_to_report(write) -> None:
    with attach() as host:
        x = torch.empty(4)
        write(x)
        copied(x)
        x.sum()
    assert (host.events, host.torch_reads) == ((), ())


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x[:3].fill_(1.0),
        lambda x: x.index_put_((torch.arange(3),), torch.ones(3)),
        lambda x: x.scatter_(0, torch.arange(3), 2.0),
        lambda x: x.masked_fill_(torch.arange(4) < 3, 3.0),
        lambda x: x.index_fill_(0, torch.arange(3), 3.0),
        lambda x: x.copy_(torch.cat([torch.ones(3), torch.empty(1)])),
    ],
)
def test_operators_that_write_a_part_leave_the_rest(write) -> None:
    with attach() as host:
        x = torch.empty(4)
        write(x)
        copied(x)
    assert [event.count for event in host.events] == [1]
    assert host.events[0].offset == 3


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x.clone(),
        lambda x: x.double().float(),
        lambda x: x.view(2, 2).t().contiguous(),
        lambda x: x[torch.arange(4)],
        lambda x: torch.nn.functional.pad(x, (0, 2))[:4],
        lambda x: torch.zeros(4).copy_(x),
        lambda x: torch.cat([torch.ones(2), x])[2:],
        lambda x: torch.where(torch.arange(4) > 4, torch.ones(4), x),
        lambda x: x.masked_fill(torch.arange(4) > 2, 0.0),
    ],
)
def test_copies_carry_the_knowledge_along(move) -> None:
    with attach() as host:
        x = torch.empty(4)
        x[1:].fill_(1.0)
        copied(move(x))
    assert host.torch_reads == ()
    assert [event.count for event in host.events] == [1]


def test_masks_that_hide_what_was_never_written_leave_nothing_to_report() -> None:
    with attach() as host:
        x = torch.empty(4)
        x[1:].fill_(1.0)
        valid = torch.arange(4) > 0
        copied(torch.where(valid, x, 0.0))
        copied(x.masked_fill(~valid, 0.0))
        assert x[valid].sum() == 3.0
        x.copy_(torch.zeros(4))
        copied(x)
    assert (host.events, host.torch_reads) == ((), ())


def test_an_operator_that_computes_with_empty_memory_is_an_event_at_the_callers_line() -> None:
    with attach() as host:
        x = torch.empty(4)
        x[:2] = 1.0
        _ = x + 1
        x.mul_(2)
        torch.zeros_like(x)
    assert [(read.operator, read.elements) for read in host.torch_reads] == [("add", 2), ("mul_", 2)]
    assert {read.file for read in host.torch_reads} == {__file__}
    assert host.torch_reads[1].line == host.torch_reads[0].line + 1
    assert __file__ in host.torch_reads[0].allocated


def test_the_poison_is_what_one_asks_for() -> None:
    for poison, value in ((0xFF, float("nan")), (0x00, 0.0)):
        with attach(Options(poison=poison)):
            np.testing.assert_array_equal(torch.empty(2).numpy(), np.full(2, value, np.float32))
    with pytest.raises(ValueError, match="expected a poison byte"), attach(Options(poison=256)):
        pass


def test_without_the_sanitizer_only_accesses_outside_of_memory_are_events() -> None:
    with attach(Options(sanitize=False)) as host:
        copied(torch.empty(4))
        assert host.events == ()
        copied(torch.ones(3))
    assert [event.kind for event in host.events] == ["out-of-bounds load"]


def test_offsets_that_wrap_are_followed_where_a_tensor_is_too_large_for_flags() -> None:
    x = torch.from_numpy(np.zeros(65537 * 65537, np.int8))  # 4.3 GB of pages that nobody touches
    for watched, kinds in ((True, ["offset overflow"]), (False, [])):
        with attach(Options(sanitize=False, overflow=watched)) as host:
            out = torch.empty(16, dtype=torch.int8)
            kernels.row_of[(1,)](x, out, 65536, 65537, BLOCK=16)
        assert [event.kind for event in host.events] == kinds
        assert all(event.argument == "x" and event.offset == 65536 * 65537 for event in host.events)


def test_what_lies_between_the_rows_of_a_view_is_not_part_of_it() -> None:
    with attach() as host:
        copied(torch.ones(8)[::2])
        copied(torch.ones(8)[4:])
    assert [(event.kind, event.offset, event.count) for event in host.events] == [("outside the view", 1, 2)]


def test_two_arguments_of_one_storage_share_what_is_known_of_their_programs() -> None:
    with attach() as host:
        memory = torch.ones(9)
        kernels.between[(2,)](memory[:8], memory[1:], BLOCK=4)
    assert {event.kind for event in host.events} == {"read-write conflict"}
    with attach() as host:
        memory = torch.ones(16)
        kernels.between[(2,)](memory[:8], memory[8:], BLOCK=4)
    assert host.events == ()


def test_forgetting_clears_events_but_not_what_was_written() -> None:
    with attach() as host:
        x = torch.empty(4)
        copied(x)
        host.forget()
        assert (host.events, host.counters.launches) == ((), 0)
        copied(x)
    assert len(host.events) == 1
