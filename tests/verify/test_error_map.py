"""Error maps: the worst slice, honest cells, a bounded size, and a picture that can be looked at."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.error_map import COLUMNS, NONFINITE, ROWS, ErrorMap, error_map, shade, text_lines, write_png
from verify.errors import InfrastructureError

DIMS = ("B", "T", "H", "V")


def drawn(errors: dict[tuple[int, ...], float], shape: tuple[int, ...], dims: tuple[str, ...]) -> ErrorMap:
    """A result that is wrong by `errors`, each times its tolerance of 0.25."""
    expected = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    got = expected.copy()
    for where, size in errors.items():
        got[where] += 0.25 * size
    return error_map("output", dims, got, expected, np.full(shape, 0.25))


def test_the_slice_with_the_largest_error_is_drawn() -> None:
    found = drawn({(0, 3, 1, 2): 2.0, (1, 4, 0, 5): 8.0}, (2, 6, 2, 7), DIMS)
    assert found.fixed == (("B", 1), ("H", 0))
    assert (found.row_axis, found.column_axis) == ("T", "V")
    assert found.worst == (4, 5)
    cells, rows, columns = found.cells(ROWS, COLUMNS)
    assert cells.shape == (6, 7)
    assert (rows, columns) == (list(range(7)), list(range(8)))
    assert cells[4, 5] == pytest.approx(8.0)
    assert np.count_nonzero(cells) == 1


def test_the_judges_own_worst_element_decides_the_slice() -> None:
    shape = (2, 6, 2, 7)
    expected, got = np.zeros(shape), np.zeros(shape)
    got[0, 3, 1, 2], got[1, 4, 0, 5] = 2.0, 8.0
    found = error_map("output", DIMS, got, expected, np.ones(shape), worst=[0, 3, 1, 2])
    assert found.fixed == (("B", 0), ("H", 1))
    assert found.worst == (3, 2)
    assert found.cells(ROWS, COLUMNS)[0].max() == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("dims", "shape", "rows", "columns", "fixed"),
    [
        (("B", "T", "H"), (2, 5, 3), "", "T", ("B", "H")),
        (("B", "H", "K", "V"), (2, 3, 4, 5), "K", "V", ("B", "H")),
        (("W", "H", "D"), (4, 2, 6), "W", "D", ("H",)),
        (("H", "D"), (2, 6), "", "D", ("H",)),
        (("H",), (3,), "", "H", ()),
        (("B", "T", "H", "P", "D"), (1, 5, 2, 3, 4), "T", "D", ("B", "H", "P")),
    ],
    ids=["BTH", "state", "WHD", "HD", "H", "five axes"],
)
def test_tokens_are_rows_and_features_are_columns(
    dims: tuple[str, ...], shape: tuple[int, ...], rows: str, columns: str, fixed: tuple[str, ...]
) -> None:
    last = tuple(size - 1 for size in shape)
    found = drawn({last: 5.0}, shape, dims)
    assert (found.row_axis, found.column_axis) == (rows, columns)
    assert found.fixed == tuple((name, last[dims.index(name)]) for name in fixed)
    cells = found.cells(ROWS, COLUMNS)[0]
    assert cells[-1, -1] == cells.max() == pytest.approx(5.0)


@given(st.integers(1, 700), st.integers(1, 130))
def test_text_has_at_most_24_rows_of_48_columns_and_covers_every_element(tokens: int, features: int) -> None:
    found = drawn({(0, tokens - 1, 0, features - 1): 1e6}, (1, tokens, 1, features), DIMS)
    cells, rows, columns = found.cells(ROWS, COLUMNS)
    assert cells.shape[0] <= 24
    assert cells.shape[1] <= 48
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (0, tokens, 0, features)
    drawing = [line for line in text_lines(found) if line.endswith("|")]
    assert len(drawing) == cells.shape[0]
    assert len({len(line) for line in drawing}) == 1
    assert drawing[-1].count("█") in (1, 2)
    assert all("█" not in line for line in drawing[:-1])
    assert drawing[-1].lstrip().split(" ")[0].split("-")[-1] == str(tokens - 1)


def test_cells_end_where_tiles_end() -> None:
    for edges in drawn({}, (1, 517, 1, 100), DIMS).cells(ROWS, COLUMNS)[1:]:
        assert all(edge % 4 == 0 for edge in edges[:-1])


def test_a_cell_is_the_root_mean_square_of_its_elements() -> None:
    found = drawn({(0, 0, 0, 0): 6.0}, (1, 4, 1, 2), DIMS)
    assert found.cells(1, 1)[0][0, 0] == pytest.approx(6.0 / np.sqrt(8.0))


def test_what_is_not_finite_is_marked_and_hides_nothing() -> None:
    found = drawn({(0, 1, 0, 1): np.nan, (0, 2, 0, 0): 9.0}, (1, 4, 1, 3), DIMS)
    assert found.worst == (1, 1)
    cells = found.cells(ROWS, COLUMNS)[0]
    assert np.isinf(cells[1, 1])
    assert cells[2, 0] == pytest.approx(9.0)
    assert any(NONFINITE in line for line in text_lines(found) if line.endswith("|"))


def test_shades_grow_with_the_ratio_and_tell_allowed_from_not() -> None:
    ratios = [0.0, 0.5, 0.51, 2.1, 101.0, 1e5, np.inf]
    assert "".join(map(shade, ratios)) == "··░▒▓█!"


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"axes \['T'\], got the shapes \(2,\), \(3,\)"):
        error_map("output", ("T",), np.zeros(2), np.zeros(3), np.zeros(2))


def test_a_picture_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    found = drawn({(0, 3, 0, 1): 50.0, (0, 2, 0, 0): np.inf}, (1, 9, 1, 3), DIMS)
    row = drawn({(0, 3, 0): 50.0}, (1, 9, 1), ("B", "T", "H"))
    for name in ("one.png", "two.png"):
        write_png([("as found", found), ("smallest", row)], tmp_path / name, title="NUM-OUTPUT")
    first = (tmp_path / "one.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert first == (tmp_path / "two.png").read_bytes()
    width, height = (int.from_bytes(first[start : start + 4], "big") for start in (16, 20))
    assert width > height > 400


def test_without_matplotlib_the_message_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError("No module named 'matplotlib'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    found = drawn({}, (1, 2, 1, 2), DIMS)
    with pytest.raises(InfrastructureError, match=r"aira-harness\[report\]"):
        write_png([("as found", found)], tmp_path / "map.png", title="x")
