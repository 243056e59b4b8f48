"""Spec files: what is wrong with one is said at once, and what is right has the shapes it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from verify.foreign.draws import draw_tensors, lay_out
from verify.foreign.notes import Note, absent, explained, statuses
from verify.foreign.spec import BrokenSpec, Case, Deviation, Input, Output, Spec, size_of


def made(**changes) -> Spec:
    fields = {
        "name": "one",
        "call": lambda x: x,
        "reference": lambda x: x,
        "inputs": (
            Input(name="x", dims="B T D"),
            Input(name="borders", dims="N+1", domain="offsets", dtype="int64", optional=True),
        ),
        "outputs": (Output(name="y", dims="B T D"),),
        "cases": (Case(name="usual", sizes={"B": 1, "T": 5, "D": 3}),),
    }
    return Spec(**{**fields, **changes})


MISTAKES = {
    "over B, D, T, got 'K'": {"outputs": (Output(name="y", dims="B T K"),)},
    "expected one use of each name, got 'x' twice": {"outputs": (Output(name="x", dims="B T D"),)},
    "expected dtypes among": {"dtypes": ("float64",)},
    "x: expected dtype one of": {"inputs": (Input(name="x", dims="B T D", dtype="half"),)},
    "at least one input": {"cases": ()},
    "expected optional inputs, got 'z'": {
        "cases": (Case(name="a", sizes={"B": 1, "T": 1, "D": 1}, given=("z",)),)
    },
    "expected `lengths`": {
        "cases": (Case(name="a", sizes={"B": 1, "T": 1, "D": 1, "N": 1}, given=("borders",)),)
    },
    "needs: expected inputs of the case": {
        "cases": (Case(name="a", sizes={"B": 1, "T": 1, "D": 1}, needs=("w",)),)
    },
    "one case of each name": {"cases": (Case(name="a", sizes={"B": 1, "T": 1, "D": 1}),) * 2},
    "slack_why": {"slack": {"float32": 2.0}},
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_in_a_spec_is_named(words: str) -> None:
    with pytest.raises(BrokenSpec) as caught:
        made(**MISTAKES[words])
    assert words in str(caught.value)


def test_sizes_are_expressions_over_symbols() -> None:
    assert size_of("2*N+1", {"N": 3}) == 7
    assert size_of("D//2-1", {"D": 9}) == 3
    for text in ("N**2", "f(N)", "N.real", "D//0"):
        with pytest.raises(BrokenSpec):
            size_of(text, {"N": 3, "D": 4})


def test_packed_lengths_give_borders_and_their_number() -> None:
    spec = made()
    case = Case(name="packed", sizes={"B": 1, "D": 2}, lengths=(1, 4, 2), given=("borders",))
    tensors = draw_tensors(spec, case, "float32")
    assert tensors["borders"].values.tolist() == [0, 1, 5, 7]
    assert tensors["x"].values.shape == (1, 7, 2)


def test_draws_depend_on_the_label_alone_and_keep_their_domain() -> None:
    spec = made(inputs=(Input(name="x", dims="B T D", domain="log_sigmoid"),))
    case = spec.cases[0]
    one, two = draw_tensors(spec, case, "float32"), draw_tensors(spec, case, "float32")
    other = draw_tensors(spec, case, "float32", label="other")
    strong = draw_tensors(spec, replace(case, gate="strong"), "float32")
    assert np.array_equal(one["x"].values, two["x"].values)
    assert not np.array_equal(one["x"].values, other["x"].values)
    assert (one["x"].values < 0).all()
    assert strong["x"].values.min() < -30.0


@pytest.mark.parametrize("kind", ["gapped", "tail", "unaligned", "transposed", "dense"])
def test_a_layout_keeps_values_and_poisons_what_is_not_the_views(kind) -> None:
    values = np.arange(12.0).reshape(2, 3, 2)
    tensor = lay_out("x", "normal", values, "float32", kind)
    whole = np.frombuffer(tensor.raw, np.float32)
    steps = tuple(4 * step for step in tensor.layout.strides)
    view = np.lib.stride_tricks.as_strided(whole[tensor.layout.offset :], values.shape, steps)
    assert np.array_equal(view, values)
    assert np.isnan(whole).sum() == whole.size - values.size
    if kind in ("gapped", "tail", "unaligned"):
        assert whole.size > values.size


def test_an_explained_defect_fails_its_stage_and_a_design_does_not() -> None:
    notes = [
        Note(rule="NUM-OUTPUT", message="o[0]: expected 1, got 2", case="a, float32"),
        Note(rule="MEM-INPUT-CHANGED", message="x holds other values", case="a, float32"),
    ]
    known = (
        Deviation(rule="NUM-OUTPUT", kind="defect", why="theirs", where="f.py:1", message="o["),
        Deviation(rule="MEM-INPUT-CHANGED", kind="design", why="in place", where="f.py:2"),
        Deviation(rule="GRD-VALUE", kind="defect", why="gone", where="f.py:3"),
    )
    found = explained(notes, known)
    assert [(note.rule, note.kind) for note in found] == [
        ("NUM-OUTPUT", "defect"),
        ("MEM-INPUT-CHANGED", "design"),
    ]
    stages = statuses(found, ["CON", "NUM", "MEM"], {"THR": "no counts"})
    assert stages == {
        "CON": "pass",
        "NUM": "fail",
        "GRD": "n/a",
        "PRP": "n/a",
        "MEM": "pass",
        "CMP": "n/a",
        "THR": "skip",
    }
    assert [one.why for one in absent(notes, known)] == ["gone"]
