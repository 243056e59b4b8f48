from __future__ import annotations

import pytest

from harness.agents.llm.dependence import Dependence
from harness.agents.llm.suspects import MOST, Suspects, Suspicion
from tests.mutants.catalogue import Mutant, as_free, mutants, skeleton_source
from verify.findings import Finding
from verify.source.lock import DEFAULT_TEMPLATES
from verify.source.outline import Outline
from verify.source.parse import parse

WRONG_NUMBERS = [mutant for mutant in mutants() if mutant.stage in ("NUM", "GRD")]
NAME = "linear_state/v1/token_decay"
SOURCE = (DEFAULT_TEMPLATES / f"{NAME}.py").read_text(encoding="utf-8")
DERIVATIVE = "    return tl.where(x > 0, 1.0, tl.exp(tl.minimum(x, 0.0)))"
MAP = "    return tl.where(x > 0, x + 1.0, tl.exp(tl.minimum(x, 0.0)))"
PARALLEL = '        scores = torch.einsum("bihk,bjhk->bhij", q_c, k_c) * decay'
GRADIENT = Finding(rule="GRD-VALUE", message="d_k: the kernels differ from the float64 reference")
OUTPUT = Finding(rule="NUM-OUTPUT", message="output: the kernels differ from the float64 reference")


def changed(*lines: str) -> str:
    """The skeleton with a remark behind some of its lines."""
    source = SOURCE
    for line in lines:
        assert source.count(f"{line}\n") == 1
        source = source.replace(f"{line}\n", f"{line}  # here\n")
    return source


def texts(source: str, found: Suspects | None) -> list[str]:
    lines = source.split("\n")
    return [] if found is None else [lines[number - 1] for number in found.lines]


def test_of_the_lines_that_differ_those_that_the_result_is_computed_from_are_told() -> None:
    source = changed(DERIVATIVE, MAP, PARALLEL)
    suspicion = Suspicion(source, {NAME: SOURCE})
    assert texts(source, suspicion.of(GRADIENT)) == [f"{MAP}  # here", f"{DERIVATIVE}  # here"]
    assert texts(source, suspicion.of(OUTPUT)) == [f"{MAP}  # here"]
    loose = Finding(rule="NUM-PARALLEL", message="output: the parallel form differs")
    assert texts(source, suspicion.of(loose)) == [f"{PARALLEL}  # here"]


def test_a_file_like_no_other_is_told_the_nearest_lines_and_few() -> None:
    for passing in ({}, {"another": "\n".join(f"x = {n}" for n in range(400))}):
        found = Suspicion(SOURCE, passing).of(OUTPUT)
        assert found is not None
        assert len(found.lines) == MOST
        assert "the lines that bear on output" in found.why
        assert any("tl.store(o_ptr" in text for text in texts(SOURCE, found))
        assert not any("tl.store(d_" in text for text in texts(SOURCE, found))


def test_the_nearest_of_the_files_that_pass_is_compared_with() -> None:
    source = changed(MAP)
    others = {
        path.stem: path.read_text(encoding="utf-8")
        for path in sorted((DEFAULT_TEMPLATES / "linear_state" / "v1").glob("[a-z]*.py"))
    }
    found = Suspicion(source, others).of(OUTPUT)
    assert found is not None
    assert "where the file differs from token_decay, which passes" in found.why


@pytest.mark.parametrize("rule", ["PAR-SYNTAX", "POL-CALL", "LCK-CHANGED", "CON-DOMAIN"])
def test_the_line_of_a_static_rule_is_the_fault_itself(rule: str) -> None:
    assert Suspicion(changed(MAP), {NAME: SOURCE}).of(Finding(rule=rule, message="", line=50)) is None


def test_an_access_leads_to_where_its_address_and_mask_come_from() -> None:
    at = SOURCE.split("\n").index("    tl.store(d_g_ptr + row + i * H, d_g, mask=i < count)") + 1
    found = Suspicion(SOURCE, {}).of(Finding(rule="MEM-OUT-OF-BOUNDS", message="store", line=at))
    told = texts(SOURCE, found)
    assert "    i = tl.arange(0, CHUNK)" in told
    assert "    count = tl.minimum(T - i_c * CHUNK, CHUNK)" in told
    assert SOURCE.split("\n")[at - 1] not in told


def test_what_does_not_fit_a_device_leads_to_the_default_tuning() -> None:
    at = SOURCE.split("\n").index("def _input_grad_kernel(") + 1
    found = Suspicion(SOURCE, {}).of(Finding(rule="CMP-SHARED", message="too much", line=at))
    assert '    {"CHUNK": 32, "num_warps": 4, "num_stages": 2},' in texts(SOURCE, found)


def test_an_idle_argument_leads_to_its_uses_in_the_definition() -> None:
    idle = Finding(rule="SUB-INPUT-IDLE", message="g: no output of the reference changes")
    told = texts(SOURCE, Suspicion(SOURCE, {}).of(idle))
    assert told == ["        S = torch.exp(g[:, t])[:, :, None, None] * S + update"]


def test_what_a_launch_hands_to_a_kernel_is_followed_into_the_functions_that_make_it() -> None:
    name = "softmax_attention/v1/plain"
    honest = (DEFAULT_TEMPLATES / f"{name}.py").read_text(encoding="utf-8")
    source = honest.replace("    return T\n", "    return T // 2\n")
    found = Suspicion(source, {name: honest}).of(OUTPUT)
    assert texts(source, found) == ["    return T // 2"]
    assert found is not None
    assert "bear on output" in found.why


def test_a_file_that_does_not_parse_is_only_compared() -> None:
    source = changed(MAP).replace("def _scale(", "def _scale((")
    found = Suspicion(source, {NAME: SOURCE}).of(Finding(rule="NUM-OUTPUT", message="output: wrong"))
    assert texts(source, found)[0] == f"{MAP}  # here"
    assert Suspicion("def f((", {}).of(OUTPUT) is None


def test_comments_and_the_docstring_are_never_at_fault() -> None:
    source = SOURCE.replace('"""Linear attention whose', '"""Attention whose').replace(
        "import torch\n", "# a remark\nimport torch\n", 1
    )
    found = Suspicion(source, {NAME: SOURCE}).of(Finding(rule="NUM-KERNEL-FAILED", message="ended"))
    assert found is None


@pytest.mark.parametrize("mutant", WRONG_NUMBERS[::8], ids=lambda mutant: mutant.label)
def test_the_edit_of_a_known_mutant_is_suspected_when_its_results_are_wrong(mutant: Mutant) -> None:
    """Beside its skeleton, one of few lines; the mutants that change the definition as well change more."""
    honest = as_free(skeleton_source(mutant.skeleton))
    parsed, _ = parse(mutant.source.encode())
    assert parsed is not None
    results = [
        name
        for name in Dependence(Outline(parsed.tree)).results
        if name.startswith("d_") == (mutant.stage == "GRD")
    ]
    message = f"{', '.join(results)}: the kernels differ from the float64 reference"
    found = Suspicion(mutant.source, {"honest": honest}).of(Finding(rule="NUM-OUTPUT", message=message))
    assert found is not None
    assert "where the file differs from honest, which passes" in found.why
    kept = set(honest.split("\n"))
    told = [text for text in texts(mutant.source, found) if text not in kept]
    assert told or any(new.count("\n") < old.count("\n") for old, new in mutant.edits), mutant.wrong
    assert len(found.lines) <= 12
