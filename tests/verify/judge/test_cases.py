"""The test plan's sizes where heads are a product of other names."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from verify.judge.cases import SHAPES, enumerate_groups
from verify.judge.compiling import compile_case
from verify.source.lock import load_skeleton, skeleton_paths

NAME = "softmax_attention/v1/plain"
SPEC = load_skeleton(skeleton_paths()[NAME], NAME).spec
TUNING = ({"BLOCK_Q": 64, "BLOCK_KV": 64},)


def planned(seed: int) -> Mapping[str, list[dict[str, int]]]:
    groups = enumerate_groups(SPEC, TUNING, seed=seed, depth="full")
    return {group.name: [SPEC.resolve(case.size_map) for case in group.cases] for group in groups}


@pytest.mark.parametrize("seed", range(8))
def test_heads_stay_few_where_sequences_are_long(seed: int) -> None:
    plan = planned(seed)
    assert max(sizes["H"] for name in plan if name != "many" for sizes in plan[name]) <= 9
    assert {sizes["H"] for sizes in plan["long"]} == {1}
    assert {sizes["H"] for sizes in plan["needs"]} <= {1, 2, 4}


@pytest.mark.parametrize("seed", range(8))
def test_some_case_has_several_groups_of_several_heads(seed: int) -> None:
    cases = [sizes for group in planned(seed).values() for sizes in group]
    assert any(sizes["G"] > 1 and sizes["R"] > 1 for sizes in cases)


def test_no_group_is_compiled_as_a_constant() -> None:
    sizes = SPEC.resolve(compile_case(SPEC, "bfloat16", 64).size_map)
    assert (sizes["G"], sizes["R"]) == (2, 2)


def test_the_longest_runs_go_beyond_a_timed_length_and_nobody_knows_how_far() -> None:
    runs = [sizes for seed in range(8) for sizes in planned(seed)["far"]]
    assert len(runs) == 16, "one in float32 and one in bfloat16"
    assert min(sizes["T"] for sizes in runs) > min(shape["T"] for shape in SHAPES)
    assert len({(sizes["T"], sizes["K"], sizes["V"]) for sizes in runs}) == 16
    assert {(sizes["B"], sizes["H"]) for sizes in runs} == {(1, 1)}


@pytest.mark.parametrize("seed", range(8))
def test_kernels_run_with_more_sequences_and_heads_than_the_first_few(seed: int) -> None:
    sequences, heads = planned(seed)["many"]
    assert sequences["B"] > 8
    assert heads["H"] >= 16
    assert max(heads["T"], sequences["T"]) <= 12
