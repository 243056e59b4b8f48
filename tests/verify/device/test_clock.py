"""The clock on a scripted device: what must cancel cancels, and what lies is refused."""

from __future__ import annotations

import pytest

from verify.device.clock import Reading, batches, median_interval, read, summarise


class Scripted:
    """A device with a time line of its own: submitting costs the host nothing, synchronising waits."""

    def __init__(
        self,
        *,
        run: float,
        once: float = 0.0,
        hidden: float = 0.0,
        waits: bool = True,
        marks_see: float = 1.0,
    ) -> None:
        self.run_seconds, self.once, self.hidden = run, once, hidden
        self.waits, self.marks_see = waits, marks_see
        self.host = self.busy_until = 0.0
        self.flushed: list[int] = []
        self.runs = 0

    def now(self) -> float:
        return self.host

    def synchronize(self) -> None:
        self.host += self.hidden
        if self.waits:
            self.host = max(self.host, self.busy_until)
        self.host += self.once / 2

    def mark(self) -> float:
        return max(self.host, self.busy_until)

    def elapsed(self, start: float, end: float) -> float:
        return (end - start) * self.marks_see

    def flush(self) -> None:
        self.flushed.append(self.runs)
        self.busy_until = max(self.host, self.busy_until) + 1e-3

    def run(self) -> None:
        if self.runs in (0, *self.flushed):
            self.host += self.once  # the first launch of a batch
        self.runs += 1
        self.busy_until = max(self.host, self.busy_until) + self.run_seconds


@pytest.mark.parametrize("once", [0.0, 1e-4, 1e-2])
def test_the_difference_of_batches_removes_what_a_batch_costs_once(once: float) -> None:
    device = Scripted(run=1e-3, once=once)
    assert read(device, device.run, few=2, many=12).host == pytest.approx(1e-3)


def test_a_device_that_returns_early_is_refused() -> None:
    device = Scripted(run=1e-3, waits=False)
    found = summarise([read(device, device.run, few=2, many=12) for _ in range(7)])
    assert found.problem is not None
    assert "by the host" in found.problem


def test_work_that_hides_behind_what_a_batch_costs_once_is_refused() -> None:
    device = Scripted(run=1e-3, hidden=5e-3)  # the short batch is over before the host looks
    found = summarise([read(device, device.run, few=2, many=12) for _ in range(7)])
    assert found.median < 0.8e-3
    assert found.problem is not None


def test_work_that_the_events_do_not_see_is_refused() -> None:
    device = Scripted(run=1e-3, marks_see=0.1)  # most of it on another stream
    found = summarise([read(device, device.run, few=2, many=12) for _ in range(7)])
    assert found.problem is not None
    assert "disagree" in found.problem


def test_clocks_that_agree_are_believed() -> None:
    device = Scripted(run=1e-3, once=1e-4, marks_see=1.02)
    found = summarise([read(device, device.run, few=2, many=12) for _ in range(7)])
    assert found.problem is None
    assert found.device == pytest.approx(1.02e-3)


def test_one_slow_repetition_does_not_move_the_median() -> None:
    steady = [Reading(host=1e-3 + i * 1e-7, device=1e-3) for i in range(14)]
    found = summarise([*steady, Reading(host=1.0, device=1.0)])
    assert found.median == pytest.approx(1e-3, rel=1e-3)
    assert found.high < 1.1e-3


def test_caches_are_flushed_before_every_batch_and_not_within_one() -> None:
    device = Scripted(run=1e-3)
    read(device, device.run, few=3, many=9)
    assert device.flushed == [0, 3]
    assert device.runs == 12


@pytest.mark.parametrize(("few", "many"), [(0, 3), (3, 3), (4, 2)])
def test_batches_of_equal_or_no_size_are_refused(few: int, many: int) -> None:
    device = Scripted(run=1e-3)
    with pytest.raises(ValueError, match=f"got {few} and {many}"):
        read(device, device.run, few=few, many=many)


def test_a_time_of_nothing_is_refused() -> None:
    assert summarise([Reading(host=0.0, device=0.0)] * 5).problem is not None


@pytest.mark.parametrize(
    ("count", "ranks"),
    # The 95% ranks of tables of the sign test: (6: 1, 6), (11: 2, 10), (15: 4, 12), (20: 6, 15).
    [(1, (0, 0)), (5, (0, 4)), (6, (0, 5)), (11, (1, 9)), (15, (3, 11)), (20, (5, 14))],
)
def test_the_interval_of_a_median_has_the_ranks_of_the_sign_test(count: int, ranks: tuple[int, int]) -> None:
    assert median_interval([float(i) for i in range(count)][::-1]) == tuple(map(float, ranks))


@pytest.mark.parametrize("seconds", [1e-6, 1e-4, 1e-2, 1.0])
def test_batches_take_about_the_time_they_should(seconds: float) -> None:
    few, many = batches(seconds, target=0.05)
    assert 0 < few < many
    assert (many - few) * seconds <= max(0.06, 2 * seconds)
