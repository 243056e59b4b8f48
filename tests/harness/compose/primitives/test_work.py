from __future__ import annotations

import pytest
import torch

from harness.compose.primitives.work import count_work, extend_count


def test_products_count_twice_and_elements_once():
    a, b = torch.empty(3, 5, device="meta"), torch.empty(5, 7, device="meta")
    assert count_work(lambda: a @ b) == 2 * 3 * 5 * 7
    assert count_work(lambda: torch.exp(a) * 2) == 15 + 15
    assert count_work(a.sum) == 15
    assert count_work(lambda: torch.einsum("ik,kj->ij", a, b)) == 2 * 3 * 5 * 7


def test_moving_data_is_free():
    a = torch.empty(3, 5, device="meta")
    assert count_work(lambda: torch.cat((a.t().contiguous(), a.t().double()))) == 0


@pytest.mark.parametrize("length", [1, 64, 319, 5000, 8192])
def test_counts_in_chunks_and_over_pairs_are_extended_exactly(length):
    def chunks(n: int) -> int:
        return 7 * (n // 64) * 64**2 + (n % 64) ** 2 + 3 * n + 11 * n * n

    assert extend_count(chunks, length) == chunks(length)


def test_a_count_of_another_form_is_taken_at_its_length():
    asked: list[int] = []

    def cubic(n: int) -> int:
        asked.append(n)
        return n**3

    assert extend_count(cubic, 8192) == 8192**3
    assert asked[-1] == 8192
