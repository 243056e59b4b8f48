from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verify.source.mechanisms import HONEST, SKELETON
from verify.findings import Finding
from verify.source.contract import DimRule, Spec, TensorSpec, parse_expression
from verify.source.outline import Outline
from verify.source.signatures import check_functions, expected_signature, read_tuning
from verify.source.spec_reader import read_spec

EMPTY = {
    "contract": "1", "template": '"free"', "causal": "True",
    "inputs": '{"q": "B T H K", "v": "B T H V"}', "output": '"B T H V"',
    "state": '{"S": "B H K V : normal, float32"}',
}  # fmt: skip


def outline(text: str) -> Outline:
    return Outline(ast.parse(text))


def spec_text(**parts: str) -> str:
    return "SPEC = {" + ", ".join(f'"{key}": {value}' for key, value in {**EMPTY, **parts}.items()) + "}\n"


def read(**parts: str) -> tuple[Spec | None, list[Finding]]:
    return read_spec(outline(spec_text(**parts)))


def valid(**parts: str) -> Spec:
    spec, findings = read(**parts)
    assert [finding.message for finding in findings] == []
    assert spec is not None
    return spec


def test_a_skeleton_reads_as_written() -> None:
    spec, findings = read_spec(outline(SKELETON))
    assert findings == []
    assert spec is not None
    assert [tensor.name for tensor in spec.arguments] == ["q", "k", "v", "g"]
    assert spec.inputs[3] == TensorSpec(name="g", dims=("B", "T", "H"), domain="log_decay", dtype="float32")
    assert spec.inputs[0] == TensorSpec(name="q", dims=("B", "T", "H", "K"), domain="normal", dtype="io")
    assert spec.state[0].dtype == "float32"
    assert spec.dtypes == ("float32", "bfloat16")
    assert (spec.family, spec.skeleton) == ("linear_state", "linear_state/v1/token_decay")
    assert spec.slots["scale"] == ("_scale",)
    assert spec.dims["K"] == DimRule(name="K", low=1, high=128)
    assert spec.dims["T"] == DimRule(name="T", low=1, high=None)


@pytest.mark.parametrize(
    ("parts", "rule", "hint"),
    [
        ({"casual": "True"}, "CON-SPEC-KEY", "Did you mean 'causal'"),
        ({"contract": "2"}, "CON-SPEC-VALUE", "expected 1, got 2"),
        ({"contract": "True"}, "CON-SPEC-VALUE", "expected 1, got True"),
        ({"template": '"linear_state"'}, "CON-TEMPLATE", "<family>/v<N>/<skeleton>"),
        ({"template": '"../x/v1/y"'}, "CON-TEMPLATE", "expected"),
        ({"causal": "1"}, "CON-SPEC-VALUE", "True or False"),
        ({"inputs": "{}"}, "CON-SPEC-VALUE", "at least one tensor"),
        ({"inputs": "dict(q=1)"}, "CON-SPEC-VALUE", "literal dict"),
        ({"inputs": '{"q": "B T H K", **{}}'}, "CON-SPEC-VALUE", "**"),
        ({"inputs": '{"q": "B T H K", "q": "B T H V"}'}, "CON-SPEC-KEY", "twice"),
        ({"inputs": '{"q": 3}'}, "CON-SPEC-VALUE", "string literal"),
        ({"inputs": '{"q": "B T H : , float32"}'}, "CON-ENTRY", "dims [: domain]"),
        ({"inputs": '{"q": "B T H, float32 : normal"}'}, "CON-ENTRY", "dims [: domain]"),
        ({"inputs": '{"q": ""}'}, "CON-ENTRY", "dims [: domain]"),
        ({"inputs": '{"q": "B T H : log_decy"}'}, "CON-DOMAIN", "Did you mean 'log_decay'"),
        ({"inputs": '{"q": "B T H, float16"}'}, "CON-DTYPE-NAME", "float16"),
        ({"inputs": '{"q": "B T : index, float32"}'}, "CON-DTYPE-NAME", "int32"),
        ({"inputs": '{"q": "T B H K"}'}, "CON-DIMS", 'start with "B T"'),
        ({"inputs": '{"q": "B T H H"}'}, "CON-DIMS", "once"),
        ({"inputs": '{"q": "B T h"}'}, "CON-DIMS", "'h'"),
        ({"output": '"B H V"'}, "CON-DIMS", 'start with "B T"'),
        ({"output": '"B T H V, float32"'}, "CON-ENTRY", "dims only"),
        ({"state": '{"S": "H B K"}'}, "CON-DIMS", 'start with "B"'),
        ({"state": '{"S": "B T K"}'}, "CON-DIMS", "without T"),
        ({"state": '{"S": "B K : index"}'}, "CON-DOMAIN", "index"),
        ({"params": '{"a": "B H"}'}, "CON-DIMS", "without B"),
        ({"params": '{"a": "T H"}'}, "CON-DIMS", "without T"),
        ({"params": '{"q": "H"}'}, "CON-NAME", "collides"),
        ({"params": '{"d_q": "H"}'}, "CON-NAME", "collides"),
        ({"inputs": '{"d_q": "B T H K", "q": "B T H V"}'}, "CON-NAME", "collides"),
        ({"inputs": '{"state": "B T H K"}'}, "CON-NAME", "reserved"),
        ({"inputs": '{"lambda": "B T H K"}'}, "CON-NAME", "reserved"),
        ({"inputs": '{"_q": "B T H K"}'}, "CON-NAME", "identifier"),
        ({"constants": '{"window": 1e999}'}, "CON-SPEC-VALUE", "finite number"),
        ({"constants": '{"window": True}'}, "CON-SPEC-VALUE", "finite number"),
        ({"constants": '{"S": 1}'}, "CON-NAME", "collides"),
        ({"dims": '{"K": 64}'}, "CON-FLOOR", "1..128"),
        ({"dims": '{"K": "2..128"}'}, "CON-FLOOR", "1..128"),
        ({"dims": '{"V": "2*P", "P": "1..64"}'}, "CON-FLOOR", "1..128"),
        ({"dims": '{"T": "1..64"}'}, "CON-FLOOR", "cannot be declared"),
        ({"dims": '{"H": 4}'}, "CON-FLOOR", "G*R"),
        ({"dims": '{"W": "1..4"}'}, "CON-DIM-RULE", "none does"),
        ({"inputs": '{"q": "B T W"}'}, "CON-DIM-RULE", "has no rule"),
        ({"inputs": '{"q": "B T W"}', "dims": '{"W": "4..1"}'}, "CON-DIM-RULE", "lo..hi"),
        ({"inputs": '{"q": "B T W"}', "dims": '{"W": 0}'}, "CON-DIM-RULE", "lo..hi"),
        ({"inputs": '{"q": "B T W"}', "dims": '{"W": "K**2"}'}, "CON-DIM-RULE", "expression"),
        ({"inputs": '{"q": "B T W"}', "dims": '{"W": "T+1"}'}, "CON-DIM-RULE", "without B and T"),
        ({"inputs": '{"q": "B T W"}', "dims": '{"W": "X*2", "X": "W+1"}'}, "CON-DIM-RULE", "itself"),
        ({"inputs": '{"q": "B T W"}', "dims": '{"W": "W+1"}'}, "CON-DIM-RULE", "itself"),
        ({"inputs": '{"q": "B T W"}', "dims": '{"W": "K-1"}'}, "CON-DIM-RULE", "at least 1"),
        ({"inputs": '{"q": "B T W"}', "dims": '{"W": "K-K+1"}'}, "CON-DIM-RULE", "at least 1"),
        ({"inputs": '{"q": "B T W"}', "dims": '{"W": "__import__(1)"}'}, "CON-DIM-RULE", "expression"),
        ({"dtypes_extra": '["float64"]'}, "CON-DTYPE-NAME", "float16"),
        ({"dtypes_extra": '["float32"]'}, "CON-DTYPE-NAME", "always tested"),
        ({"dtypes_extra": '"float16"'}, "CON-SPEC-VALUE", "a list"),
        ({"slots": '{"phi": "_phi"}'}, "CON-SLOTS", "list of function names"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_a_way_out(parts, rule, hint) -> None:
    spec, findings = read(**parts)
    assert spec is None
    assert any(finding.rule == rule and hint in finding.message for finding in findings), findings
    assert all(finding.line == 1 and (finding.column or 0) > 1 for finding in findings)


def test_every_mistake_is_reported_at_once() -> None:
    _, findings = read(causal="0", inputs='{"q": "B T H : tiny", "k": "T B"}', output="3", nonsense="1")
    assert {finding.rule for finding in findings} == {
        "CON-SPEC-KEY",
        "CON-SPEC-VALUE",
        "CON-DOMAIN",
        "CON-DIMS",
    }


def test_positions_are_those_of_the_mistake() -> None:
    spec, findings = read_spec(outline(HONEST.replace('"B T H V"},', '"B T H V : tiny"},')))
    assert spec is None
    line = next(n for n, text in enumerate(HONEST.splitlines(), 1) if '"inputs"' in text)
    assert [(finding.line, finding.column) for finding in findings] == [(line, 21)]


def test_a_missing_spec_is_one_finding() -> None:
    assert [finding.rule for finding in read_spec(outline("x = 1"))[1]] == ["CON-SPEC"]


def test_declared_dims_resolve_to_sizes() -> None:
    spec = valid(
        inputs='{"q": "B T H K", "v": "B T G W"}', dims='{"H": "G*R", "G": "1..8", "R": "1..4", "W": 3}'
    )
    sizes = spec.resolve({"B": 2, "T": 5, "G": 3, "R": 2, "K": 7, "V": 1})
    assert (sizes["H"], sizes["W"]) == (6, 3)
    assert spec.inputs[1].shape(sizes) == (2, 5, 3, 3)
    assert set(spec.module_dims()) == {"G", "R"}
    assert set(spec.free_dims()) == {"B", "T", "G", "R", "K", "V"}


def test_a_size_that_no_tensor_shows_follows_from_its_expression() -> None:
    spec = valid(inputs='{"q": "B T H K", "v": "B T G V"}', dims='{"H": "G*R", "G": "1..8", "R": "1..4"}')
    shown = {"B": 2, "T": 5, "H": 6, "G": 2, "K": 7, "V": 1}
    assert spec.infer(shown) == {**shown, "R": 3}
    with pytest.raises(ValueError, match=r"H: expected G\*R for some R \(1\.\.4\) and G = 2, got 5"):
        spec.infer({**shown, "H": 5})
    with pytest.raises(ValueError, match="missing"):
        spec.infer({"B": 2, "T": 5, "H": 6, "K": 7, "V": 1})


def test_the_names_that_heads_are_made_of() -> None:
    made = valid(inputs='{"q": "B T H K", "v": "B T G V"}', dims='{"H": "G*R", "G": "1..8", "R": "1..4"}')
    assert made.head_dims() == ("G", "R")
    assert valid().head_dims() == ()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"B": 1, "T": 1, "H": 1, "K": 1}, "missing"),
        ({"B": 1, "T": 1, "H": 1, "K": 1, "V": 1, "Z": 1}, "unknown"),
        ({"B": 1, "T": 0, "H": 1, "K": 1, "V": 1}, ">= 1"),
        ({"B": 1, "T": 1, "H": 1, "K": 129, "V": 1}, "1..128"),
    ],
)
def test_sizes_outside_of_the_rules_raise(sizes, message) -> None:
    with pytest.raises(ValueError, match=message):
        valid().resolve(sizes)


def test_a_size_must_agree_with_its_expression() -> None:
    spec = valid(inputs='{"q": "B T H K"}', dims='{"H": "G*2", "G": "1..8"}')
    with pytest.raises(ValueError, match="expected 4, got 5"):
        spec.resolve({"B": 1, "T": 1, "G": 2, "K": 1, "V": 1, "H": 5})


@given(st.text(alphabet="ABK+-*/()% 0123456789_.,[]'", max_size=30))
def test_expressions_are_parsed_and_never_run(text: str) -> None:
    try:
        tree = parse_expression(text)
    except ValueError:
        return
    assert all(
        isinstance(n, ast.BinOp | ast.Name | ast.Constant | ast.Load | ast.operator) for n in ast.walk(tree)
    )


def test_params_are_float32_unless_said() -> None:
    spec = valid(params='{"a": "H : log_decay", "b": "K : normal, io"}')
    assert [(tensor.name, tensor.dtype) for tensor in spec.params] == [("a", "float32"), ("b", "io")]


def test_indices_are_integers_without_a_gradient() -> None:
    spec = valid(inputs='{"q": "B T H K", "i": "B T : index"}')
    assert [(tensor.dtype, tensor.differentiable) for tensor in spec.inputs] == [
        ("io", True),
        ("int32", False),
    ]


def test_signatures_follow_spec() -> None:
    spec = valid(params='{"a": "H"}', constants='{"window": 64, "eps": -1e-6}')
    assert expected_signature("reference", spec) == (("q", "v", "a"), ("state", "window", "eps"))
    assert expected_signature("forward", spec) == (("q", "v", "a"), ("state", "tuning", "window", "eps"))
    assert expected_signature("backward", spec) == (
        ("residuals", "d_output", "d_state"),
        ("needs", "tuning", "window", "eps"),
    )
    assert spec.constants == {"window": 64, "eps": -1e-6}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def reference(v: torch.Tensor, *, state", "def reference(x: torch.Tensor, *, state"),
        ("def forward(v, *, state, tuning):", "def forward(v, state, tuning):"),
        ("def forward(v, *, state, tuning):", "def forward(v, *, tuning, state):"),
        ("def forward(v, *, state, tuning):", "def forward(v, *, state, tuning=None):"),
        ("def forward(v, *, state, tuning):", "def forward(v, *, state, tuning, **rest):"),
        ("def forward(v, *, state, tuning):", "def forward(v, /, *, state, tuning):"),
        ("d_state, *, needs, tuning):", "d_state, *, tuning, needs):"),
    ],
)
def test_a_wrong_signature_prints_the_right_one(old: str, new: str) -> None:
    spec, _ = read_spec(outline(HONEST))
    assert spec is not None
    assert HONEST.count(old) == 1
    (finding,) = check_functions(outline(HONEST.replace(old, new)), spec)
    assert finding.rule == "CON-SIGNATURE"
    name = finding.message.split("def ")[1].split("(")[0]
    positional, keywords = expected_signature(name, spec)
    assert f"def {name}({', '.join((*positional, '*', *keywords))})" in finding.message


def test_missing_functions_are_named() -> None:
    spec, _ = read_spec(outline(HONEST))
    assert spec is not None
    text = HONEST.replace("def backward(", "def backwards(").replace(
        "def reference(", "@triton.jit\ndef reference("
    )
    assert [finding.rule for finding in check_functions(outline(text), spec)] == [
        "CON-FUNCTION",
        "CON-FUNCTION",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[]", "()", "3", "[{}] * 2", "[3]", '[{"A": 1.5}]', '[{"A": True}]',
        '[{"A": -1}]', '[{"num_warps": 3}]',
        '[{"num_stages": 9}]', '[{"A": 1}, {"B": 1}]', '[{"A": 1}, {"A": 1}]', '[{"__a": 1}]',
        "[{**{}}]", '[{"A": 1, "A": 2}]',
        "[" + ", ".join(f'{{"A": {n}}}' for n in range(9)) + "]", '[{"A B": 1}]', '[{"A": 1} for i in (1,)]',
    ],
)  # fmt: skip
def test_a_malformed_tuning_is_refused(text: str) -> None:
    _, findings = read_tuning(outline(f"TUNING = {text}\n"))
    assert findings
    assert {finding.rule for finding in findings} == {"CON-TUNING"}


def test_tuning_is_read_as_data() -> None:
    tuning, findings = read_tuning(
        outline('TUNING = [{"A": 1, "num_warps": 8}, {"A": 0, "num_warps": 16}]\n')
    )
    assert (tuning, findings) == (({"A": 1, "num_warps": 8}, {"A": 0, "num_warps": 16}), [])
    assert [finding.rule for finding in read_tuning(outline("x = 1"))[1]] == ["CON-TUNING"]
