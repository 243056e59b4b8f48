"""Bytes, sectors and what is touched at all, from the offsets of accesses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from verify.triton_cpu.counting.storages import Storages, TensorView, lazy_zeros
from verify.triton_cpu.counting.traffic import Traffic


def view(
    nbytes: int = 1 << 16, dtype: str = "float32", shape: tuple[int, ...] = (128, 64), **options: Any
) -> TensorView:
    strides = options.pop("strides", None) or tuple(np.cumprod((1, *reversed(shape[1:])))[::-1].tolist())
    storage = Storages().add("x", nbytes, misaligned=options.pop("misaligned", 0))
    return TensorView(storage=storage, dtype=dtype, shape=shape, strides=strides, **options)


def recorder(tensor: TensorView, *, boxed: bool = False) -> Traffic:
    traffic = Traffic({"x": tensor}, boxed=boxed)
    traffic.begin_program()
    return traffic


def touch(traffic: Traffic, elements: Any, itemsize: int = 4, kind: str = "load", name: str = "x") -> None:
    offsets = np.asarray(elements, np.int64).reshape(1, -1) * itemsize
    traffic.access(SimpleNamespace(name=name), offsets, itemsize, kind)


ROWS, COLUMNS = np.arange(16)[:, None] * 64, np.arange(16)[None, :]


@pytest.mark.parametrize(
    ("elements", "moved", "sectors", "unique"),
    [
        (np.arange(64), 256, 8, 256),  # a row
        (ROWS + COLUMNS, 1024, 32, 1024),  # a tile, row by row
        ((ROWS + COLUMNS).T, 1024, 32, 1024),  # the same, column by column
        (np.arange(16) * 64, 64, 16, 64),  # a column: a sector for each element
        (np.zeros(32), 128, 1, 4),  # one element, in every lane
        (np.arange(4, 12), 32, 2, 32),  # across the border of two sectors
    ],
)
def test_an_access_counts_each_sector_once(elements: Any, moved: int, sectors: int, unique: int) -> None:
    traffic = recorder(view())
    touch(traffic, elements)
    counts = traffic.program_counts()
    assert (counts["bytes_loaded"], counts["unique_loaded"]) == (moved, unique)
    assert counts["sectors_loaded"] == sectors
    assert counts["fetched_sectors"] == sectors
    assert counts["loads"] == 1
    assert counts["bytes_stored"] == counts["sectors_stored"] == counts["stores"] == 0


def test_sectors_lie_at_addresses_and_not_at_the_start_of_the_tensor() -> None:
    traffic = recorder(view(misaligned=16))
    touch(traffic, np.arange(8))
    assert traffic.program_counts()["sectors_loaded"] == 2


def test_what_is_loaded_again_is_moved_twice_and_unique_once() -> None:
    traffic = recorder(view())
    touch(traffic, np.arange(32))
    touch(traffic, np.arange(16, 48))
    counts = traffic.program_counts()
    assert (counts["bytes_loaded"], counts["unique_loaded"]) == (256, 192)
    assert (counts["sectors_loaded"], counts["fetched_sectors"]) == (8, 6)


def test_programs_that_share_bytes_count_them_once_in_all() -> None:
    traffic = recorder(view())
    touch(traffic, np.arange(32))
    first = traffic.argument_bytes()
    traffic.begin_program()
    touch(traffic, np.arange(16, 48))
    second = traffic.argument_bytes()
    assert first["x"][2] == second["x"][2] == 128
    (argument,) = traffic.finished([(1.0, first), (1.0, second)], complete=True)
    assert (argument.bytes_loaded, argument.unique_loaded) == (256, 192)


def test_an_atomic_is_a_load_and_a_store() -> None:
    traffic = recorder(view())
    touch(traffic, np.arange(8), kind="atomic")
    counts = traffic.program_counts()
    assert (counts["unique_loaded"], counts["unique_stored"]) == (32, 32)


def test_a_pointer_to_a_wider_type_covers_several_elements() -> None:
    traffic = recorder(view(dtype="bfloat16"))
    touch(traffic, np.arange(8), itemsize=8)
    counts = traffic.program_counts()
    assert (counts["bytes_loaded"], counts["unique_loaded"]) == (64, 64)


def test_one_tensor_under_two_names_is_one_tensor() -> None:
    tensor = view()
    traffic = Traffic({"x": tensor, "y": tensor}, boxed=False)
    traffic.begin_program()
    touch(traffic, np.arange(8), name="x")
    touch(traffic, np.arange(8), name="y")
    counts = traffic.program_counts()
    assert (counts["bytes_loaded"], counts["unique_loaded"]) == (64, 32)
    assert list(traffic.argument_bytes()) == ["x"]


def test_a_sample_of_rows_stands_for_all_rows_and_only_for_the_columns_it_touches() -> None:
    traffic = recorder(view(), boxed=True)
    moved = []
    for row in (0, 40, 127):  # of 128 rows, half of the columns
        traffic.begin_program()
        touch(traffic, row * 64 + np.arange(32))
        traffic.end_program()
        moved.append((128 / 3, traffic.argument_bytes()))
    (argument,) = traffic.finished(moved, complete=False)
    assert argument.unique_loaded == 128 * 32 * 4


def test_what_every_program_reads_is_not_multiplied() -> None:
    traffic = recorder(view(), boxed=True)
    moved = []
    for _ in range(3):
        traffic.begin_program()
        touch(traffic, np.arange(640))
        traffic.end_program()
        moved.append((1000.0, traffic.argument_bytes()))
    (argument,) = traffic.finished(moved, complete=False)
    assert argument.bytes_loaded == 3000 * 2560
    assert argument.unique_loaded == 2560


def test_lazy_zeros_are_zeros_that_can_be_written() -> None:
    huge = lazy_zeros(1 << 38)
    huge[1 << 37] = 7
    assert huge[(1 << 37) - 1 : (1 << 37) + 2].tolist() == [0, 7, 0]
