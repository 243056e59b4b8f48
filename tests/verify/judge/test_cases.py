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
def test_heads_stay_few(seed: int) -> None:
    plan = planned(seed)
    assert max(sizes["H"] for cases in plan.values() for sizes in cases) <= 9
    assert {sizes["H"] for sizes in plan["long"]} == {1}
    assert {sizes["H"] for sizes in plan["needs"]} <= {1, 2, 4}


@pytest.mark.parametrize("seed", range(8))
def test_some_case_has_several_groups_of_several_heads(seed: int) -> None:
    cases = [sizes for group in planned(seed).values() for sizes in group]
    assert any(sizes["G"] > 1 and sizes["R"] > 1 for sizes in cases)


def test_no_group_is_compiled_as_a_constant() -> None:
    sizes = SPEC.resolve(compile_case(SPEC, "bfloat16", 64).size_map)
    assert (sizes["G"], sizes["R"]) == (2, 2)


def test_the_longest_run_goes_beyond_a_timed_length_and_nobody_knows_how_far() -> None:
    runs = [planned(seed)["far"] for seed in range(8)]
    assert all(len(run) == 1 for run in runs)
    assert min(run[0]["T"] for run in runs) > min(shape["T"] for shape in SHAPES)
    assert len({(run[0]["T"], run[0]["K"], run[0]["V"]) for run in runs}) == 8
    assert {(run[0]["B"], run[0]["H"]) for run in runs} == {(1, 1)}
