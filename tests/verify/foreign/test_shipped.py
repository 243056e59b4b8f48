"""The specs that ship: they load where their libraries are installed, and their parts fit together."""

from __future__ import annotations

import pytest

pytest.importorskip("triton")

from verify.foreign.cli import shipped
from verify.foreign.hosting import importing
from verify.foreign.jobs import do, jobs_of
from verify.foreign.loading import Unavailable, load, require
from verify.foreign.spec import Spec

PATHS = sorted(path for path in shipped().glob("*.py") if path.stem != "__init__")
WANTED = {
    *("mamba_chunk_scan_combined", "mamba_selective_state_update", "fla_chunk_simple_gla", "fla_chunk_gla"),
    *("fla_chunk_delta_rule", "fla_chunk_gated_delta_rule", "fla_chunk_retention", "fla_fused_recurrent_gla"),
    *("fla_parallel_attn", "fla_parallel_forgetting_attn", "liger_rms_norm", "liger_swiglu", "liger_rope"),
    "liger_cross_entropy",
}


def loaded(name: str) -> Spec:
    try:
        with importing():
            spec = load(shipped() / f"{name}.py")
        require(spec.requires)
    except Unavailable as missing:
        pytest.skip(str(missing))
    return spec


def test_what_was_promised_ships() -> None:
    assert {path.stem for path in PATHS} == WANTED


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WANTED))
def test_a_shipped_spec_says_where_each_deviation_comes_from(name: str) -> None:
    spec = loaded(name)
    assert spec.compile_case is not None
    assert any(case.depth == "quick" for case in spec.cases)
    assert len(spec.cases) >= 12
    assert spec.requires
    assert all(len(one.why) > 40 and ".py" in one.where for one in spec.deviations)


def test_an_operator_of_liger_passes_its_quick_cases() -> None:
    spec = loaded("liger_swiglu")
    notes = [note for job in jobs_of(spec, "quick") if job.kind == "case" for note in do(spec, job)[0].notes]
    assert {note.rule for note in notes} <= {"MEM-INPUT-CHANGED"}
