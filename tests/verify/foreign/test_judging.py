"""Every stage of a foreign spec, on a small operator of our own: the sound one passes, each fault is seen."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

from verify.device.hardware import CpuDevice
from verify.foreign.draws import draw_tensors
from verify.foreign.jobs import do, jobs_of
from verify.foreign.library import record
from verify.foreign.notes import Note
from verify.foreign.reference import check_gradients, known
from verify.foreign.spec import BrokenSpec, Case, Input, Output, Spec
from verify.foreign.timing import time_case

SOURCE = Path(__file__).parent / "specs" / "decayed_sum.py"


def load_changed(folder: Path, *changes: tuple[str, str]) -> Spec:
    """The spec with its text changed. Kernels need a file, since Triton reads their source."""
    text = SOURCE.read_text()
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new)
    path = folder / f"spec_{abs(hash(changes))}.py"
    path.write_text(text)
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module
    found.loader.exec_module(module)
    return module.SPEC


def notes_of(spec: Spec, *kinds: str, label: str = "") -> list[Note]:
    jobs = [job for job in jobs_of(spec, "full") if job.kind in kinds and label in job.label]
    assert jobs
    return [note for job in jobs for note in do(spec, job)[0].notes]


def rules_of(notes: list[Note]) -> set[str]:
    return {note.rule for note in notes}


def test_a_sound_operator_passes_every_stage(tmp_path: Path) -> None:
    spec = load_changed(tmp_path)
    shown: set[str] = set()
    for job in jobs_of(spec, "full"):
        if job.kind == "compile":
            continue
        outcome, _ = do(spec, job)
        assert [note.message for note in outcome.notes] == [], job.label
        shown |= outcome.shown
    assert shown == {"CON", "NUM", "GRD", "PRP", "MEM", "THR"}


FAULTS = {
    "a wrong number": ("DECAY * state + tl", "0.999 * DECAY * state + tl", "NUM-OUTPUT"),
    "a wrong state": (
        "tl.store(last + number * D + d, state, mask=seen)",
        "tl.store(last + number * D + d, state * 1.001, mask=seen)",
        "NUM-STATE",
    ),
    "a wrong gradient": ("grad = grad * DECAY", "grad = grad * 0.999 * DECAY", "GRD-VALUE"),
    "a state without gradient": (
        "return dx, dfirst if ctx.needs_input_grad[1] else None, None",
        "return dx, None, None",
        "GRD-MISSING",
    ),
    "not a number": (
        "tl.store(last + number * D + d, state, mask=seen)",
        "tl.store(last + number * D + d, state / (state - state), mask=seen)",
        "NUM-NONFINITE",
    ),
    "a read past the end": (
        "begin, end = number * T, number * T + T",
        "begin, end = number * T, number * T + T + 1",
        "MEM-OUT-OF-BOUNDS",
    ),
    "a read of unwritten memory": (
        "dx = torch.empty_like(dy)",
        "dx, dy = torch.empty_like(dy), torch.empty_like(dy)",
        "MEM-UNWRITTEN-READ",
    ),
    "an input written": ("x = x.contiguous()", "x = x.contiguous().mul_(2.0)", "MEM-INPUT-CHANGED"),
    "the gaps of a view read": (
        "x = x.contiguous()\n",
        "x = x.as_strided(x.shape, (x.shape[1] * x.shape[2], x.shape[2], 1))\n",
        "NUM-NONFINITE",
    ),
    "a wrong dtype": ("return y, last", "return y, last.double()", "CON-RESULT-DTYPE"),
    "a wrapper that raises": ("N = B if", "assert D == 4, 'only 4'\n        N = B if", "CON-WRAPPER-ERROR"),
    "a loop without end": (
        "tl.store(last + number * D + d, state, mask=seen)",
        "while number >= 0:\n        state += 0.0\n    tl.store(last + number * D + d, state, mask=seen)",
        "NUM-KERNEL-ERROR",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_a_finding_of_its_rule(name: str, tmp_path: Path) -> None:
    old, new, rule = FAULTS[name]
    spec = load_changed(tmp_path, (old, new))
    label = "gaps, float32" if "gaps" in name else "usual, float32"
    assert rule in rules_of(notes_of(spec, "case", label=label))


def test_an_option_that_leaks_over_borders_is_packed_wrong(tmp_path: Path) -> None:
    first = "state = tl.load(first + number * D + d, mask=seen, other=0.0)"
    leak = first + "\n    if borders is not None:\n        state += tl.load(x + d, mask=seen, other=0.0)"
    spec = load_changed(tmp_path, (first, leak))
    assert rules_of(notes_of(spec, "property", label="packed")) == {"PRP-PACKED"}


def test_a_kernel_that_looks_ahead_is_not_causal(tmp_path: Path) -> None:
    peek = "tl.load(x + t * D + d, mask=seen, other=0.0).to(tl.float32)"
    ahead = f"{peek} + 0.01 * tl.load(x + (number * T + T - 1) * D + d, mask=seen, other=0.0)"
    spec = load_changed(tmp_path, (peek, ahead))
    assert {"PRP-CAUSAL"} == rules_of(notes_of(spec, "property", label="other tokens"))
    assert {"PRP-PREFIX"} == rules_of(notes_of(spec, "property", label="only"))


def test_a_kernel_that_looks_ahead_at_large_values_alone_is_not_causal(tmp_path: Path) -> None:
    peek = "tl.load(x + t * D + d, mask=seen, other=0.0).to(tl.float32)"
    last = "tl.load(x + (number * T + T - 1) * D + d, mask=seen, other=0.0).to(tl.float32)"
    spec = load_changed(tmp_path, (peek, f"{peek} + tl.where(tl.abs({last}) > 50.0, 1.0, 0.0)"))
    assert {"PRP-CAUSAL"} == rules_of(notes_of(spec, "property", label="other tokens"))


def test_a_state_that_is_not_handed_on_is_not_resumable(tmp_path: Path) -> None:
    spec = load_changed(tmp_path, ("if first is None else first.contiguous()", "if True else first"))
    assert rules_of(notes_of(spec, "property", label="split")) == {"PRP-RESUME"}


def test_a_batch_entry_that_sees_another_is_not_independent(tmp_path: Path) -> None:
    peek = "state = tl.load(first + number * D + d, mask=seen, other=0.0)"
    spec = load_changed(tmp_path, (peek, f"{peek} + tl.load(x + T * D + d, mask=seen, other=0.0)"))
    assert rules_of(notes_of(spec, "property", label="batch")) == {"PRP-BATCH"}


def test_programs_that_race_are_seen_by_another_order(tmp_path: Path) -> None:
    store = "tl.store(last + number * D + d, state, mask=seen)"
    spec = load_changed(tmp_path, (store, f"{store}\n    tl.store(last + d, state, mask=seen)"))
    assert "MEM-CONFLICT" in rules_of(notes_of(spec, "case", label="usual, float32"))
    assert "MEM-ORDER" in rules_of(notes_of(spec, "order"))


def test_unwritten_results_differ_under_another_poison(tmp_path: Path) -> None:
    spec = load_changed(tmp_path, ("state = tl.load(first +", "state = tl.load(last +"))
    assert "MEM-POISON" in rules_of(notes_of(spec, "order"))


def test_a_kernel_that_does_not_compile_is_a_finding_for_its_target(tmp_path: Path) -> None:
    spec = load_changed(tmp_path, ("d = tl.arange(0, BLOCK)", "d = tl.arange(0, BLOCK + 1)"))
    notes = notes_of(spec, "compile", label="sm_90")
    assert rules_of(notes) == {"CMP-ERROR"}
    assert "sm_90" in notes[0].case


BROKEN = {
    "expected a finite reference": (
        "state = DECAY * state + x[b, t]",
        "state = DECAY * state + x[b, t] / 0.0",
    ),
    "differs between two runs": (
        "state = DECAY * state + x[b, t]",
        "state = DECAY * state + x[b, t] * (1 + 1e-3 * torch.rand(()))",
    ),
    "by central differences": (
        "state = DECAY * state + x[b, t]",
        "state = DECAY * state + x[b, t].detach() + 0.5 * x[b, t]",
    ),
    "expected the reference to run": (
        "states = [[] for _ in range(x.shape[0])], []",
        "states = undefined, []",
    ),
    "expected 2 results": ("for row in rows]), torch.stack(states)", "for row in rows]),"),
    "by one rounding": (
        "state = DECAY * state + x[b, t]",
        "state = DECAY * state + torch.sin(1e6 * x[b, t])",
    ),
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_reference_that_cannot_be_believed_is_the_specs_fault(words: str, tmp_path: Path) -> None:
    spec = load_changed(tmp_path, BROKEN[words])
    case = spec.cases[0]
    tensors = draw_tensors(spec, case, "float32")
    with pytest.raises(BrokenSpec, match=words):
        check_gradients(spec, case, tensors, known(spec, case, tensors, "float32").cotangents)


def test_a_reference_in_float32_disagrees_with_itself_in_float64(tmp_path: Path) -> None:
    spec = load_changed(
        tmp_path, ("state = DECAY * state + x[b, t]", "state = (DECAY * state + x[b, t]).float().to(x.dtype)")
    )
    case = spec.cases[0]
    tensors = draw_tensors(spec, case, "float32")
    with pytest.raises(BrokenSpec, match="central differences"):
        check_gradients(spec, case, tensors, known(spec, case, tensors, "float32").cotangents)


def test_a_property_that_the_reference_has_not_got_is_the_specs_fault(tmp_path: Path) -> None:
    spec = load_changed(
        tmp_path, ("state = DECAY * state + x[b, t]", "state = DECAY * state + x[b, t] + x[b, -1]")
    )
    with pytest.raises(BrokenSpec, match="has not got it"):
        notes_of(spec, "property", label="other tokens")


def test_the_clock_times_a_call_forward_and_backward() -> None:
    calls = []

    def call(x):
        calls.append(x.requires_grad)
        return x * 2

    spec = Spec(
        name="twice",
        call=call,
        reference=lambda x: x * 2,
        inputs=(Input(name="x", dims="D"),),
        outputs=(Output(name="y", dims="D"),),
        cases=(Case(name="usual", sizes={"D": 1000}),),
    )
    timing = time_case(spec, spec.cases[0], CpuDevice(), "cpu", repetitions=6)
    assert 0.0 < timing.low <= timing.median <= timing.high < 1.0
    assert timing.repetitions == 6
    assert len(calls) > 4 * 6
    assert all(calls)


def test_launches_are_recorded_at_any_size_without_being_run(tmp_path: Path) -> None:
    spec = load_changed(tmp_path)
    sizes = {"B": 8, "T": 4096, "D": 512, "N": 8}
    launches = record(spec, Case(name="large", sizes=sizes, given=("first",)), "bfloat16")
    assert [launch.kernel.__name__ for launch in launches] == ["forward_kernel", "backward_kernel"]
    assert [launch.grid for launch in launches] == [(8, 1, 1)] * 2
    assert launches[0].tensors["x"].shape == (8, 4096, 512)
