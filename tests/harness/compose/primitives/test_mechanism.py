from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from harness.compose.composition import Composition
from harness.compose.counts import check_evidence, needs_measured, parameters
from harness.compose.model import ComposedModel
from harness.compose.primitives.alphabet import Alphabet, admitted
from harness.compose.primitives.attention import AttentionPrimitive
from harness.compose.primitives.mechanism import MechanismPrimitive, PrimitiveRefused, load_primitive
from harness.compose.shape import ModelShape
from harness.compose.sizes import LLAMA
from tests.harness.compose.primitives.candidates import BIDIRECTIONAL, CANDIDATES, LINEAR, copy, timed
from verify.rules import RULES

SHAPE = ModelShape(d_model=32, heads=2, kv_heads=1, head_dim=16, ffn=64, vocab=13, ssm_head_dim=32)
STATEFUL = ("pzbb45xn", "hckg473z", "fmf434a3", "ku46rbz6", "wtyv3474", "6riasqzz", "i5bgm7il", "bzul5eip")
STATELESS = ("bzjzuodn", "3ataspan", "7pug5cm5")
QUICK = ("pzbb45xn", "fmf434a3", "wtyv3474", "7pug5cm5")
"""One of each kind. Loading checks the source, which takes half a second: the others wait for full runs."""


def each(*tokens: str) -> pytest.MarkDecorator:
    slow = pytest.mark.slow
    return pytest.mark.parametrize(
        "token", [pytest.param(token, marks=() if token in QUICK else slow) for token in tokens]
    )


def load(token: str) -> MechanismPrimitive:
    (folder,) = CANDIDATES.glob(f"*/*-{token}")
    return load_primitive(folder)


def model(primitive: MechanismPrimitive, shape: ModelShape = SHAPE, layers: int = 1) -> ComposedModel:
    return ComposedModel(Composition((primitive.token,) * layers), Alphabet(primitives=(primitive,)), shape)


@pytest.mark.slow
def test_every_admitted_causal_candidate_is_found():
    found = {primitive.token for primitive in admitted(CANDIDATES)}
    assert found >= {*STATEFUL, *STATELESS}
    assert "tdfrenk6" not in found


@each(*STATEFUL, *STATELESS)
def test_it_trains_in_a_model_and_is_causal_there(token):
    built = model(load(token), layers=2)
    ids = torch.randint(0, 13, (2, 70), generator=torch.Generator().manual_seed(2))
    built(ids, ids).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in built.parameters())
    changed = ids.clone()
    changed[:, 40:] = (changed[:, 40:] + 1) % 13
    before, after = built(ids), built(changed)
    torch.testing.assert_close(before[:, :40], after[:, :40], rtol=0, atol=1e-5)
    assert not torch.allclose(before[:, 40:], after[:, 40:])


@each(*STATEFUL, *STATELESS)
def test_parameters_are_those_of_the_built_layer(token):
    built = sum(weight.numel() for weight in load(token).build(SHAPE).parameters())
    assert load(token).parameters(SHAPE) == built


@each(*STATEFUL)
def test_a_state_does_not_grow(token):
    one, other = (load(token).state_bytes(SHAPE, length) for length in (1, 10_000))
    assert one == other >= 2 * 16 * 16 * 4  # heads, K, V, float32


@each(*STATELESS)
def test_without_a_state_what_reaches_later_tokens_is_kept_as_attention_does(token):
    kept = load(token).state_bytes(SHAPE, 77)
    assert kept == AttentionPrimitive().state_bytes(SHAPE, 77)


@each(*STATELESS)
def test_softmax_attention_costs_what_builtin_attention_costs_and_its_elementwise_work(token):
    found, known = (p.flops(LLAMA, 2048) for p in (load(token), AttentionPrimitive()))
    assert known < found < 1.05 * known


@pytest.mark.parametrize("length", [64, 500, 833])
def test_extended_counts_are_those_of_a_run_at_that_length(length):
    primitive = load("wtyv3474")
    sizes = {"H": 2, "K": 16, "V": 16, "T": length}
    projections = 2 * length * 32 * (4 * 32 + 2)  # q, k, v and the output, and a gate per head
    assert primitive.flops(SHAPE, length) == projections + primitive._count(sizes)


def test_a_bidirectional_mechanism_is_refused():
    with pytest.raises(PrimitiveRefused, match="expected a causal mechanism") as caught:
        load_primitive(BIDIRECTIONAL)
    assert caught.value.rule == "ADM-CAUSAL"
    assert caught.value.rule in RULES


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"admission": "rejected"}, "ADM-NOT-ADMITTED"),
        ({"source_hash": "0" * 64}, "LCK-SOURCE-HASH"),
        ({"rules": "0"}, "ADM-VERDICT"),
        ({"surprise": 1}, "ADM-NOT-ADMITTED"),
    ],
    ids=str,
)
def test_a_verdict_that_does_not_admit_this_source_today_is_refused(tmp_path, changes, rule):
    with pytest.raises(PrimitiveRefused) as caught:
        load_primitive(copy(tmp_path, **changes))
    assert (caught.value.rule, caught.value.exit_code) == (rule, 1)


def test_a_missing_verdict_is_refused(tmp_path):
    folder = copy(tmp_path)
    (folder / "verdict.json").unlink()
    with pytest.raises(PrimitiveRefused, match="with its verdict") as caught:
        load_primitive(folder)
    assert caught.value.rule == "ADM-NOT-ADMITTED"


def test_a_refreshed_verdict_is_read_again(tmp_path):
    folder = copy(tmp_path)
    assert load_primitive(folder).needs_measured
    timed(tmp_path / "refreshed")
    fresh = tmp_path / "refreshed" / folder.relative_to(tmp_path) / "verdict.json"
    (folder / "verdict.json").write_bytes(fresh.read_bytes())
    assert not load_primitive(folder).needs_measured


def large(folder: Path) -> tuple[Composition, Alphabet]:
    primitive = load_primitive(folder)
    return Composition((primitive.token,) * 2), Alphabet(primitives=(primitive,))


def test_above_100m_an_estimate_builds_on_the_meta_device_only():
    composition, alphabet = large(LINEAR)
    with pytest.raises(PrimitiveRefused, match="ADM-EVIDENCE") as caught:
        ComposedModel(composition, alphabet, LLAMA)
    assert caught.value.rule == "ADM-EVIDENCE"
    assert caught.value.rule in RULES
    assert needs_measured(composition, alphabet) == ("pzbb45xn",)
    with torch.device("meta"):
        built = ComposedModel(composition, alphabet, LLAMA)
    total = sum(weight.numel() for weight in built.parameters())
    assert total == parameters(composition, alphabet, LLAMA) > 100_000_000


def test_above_100m_a_timed_mechanism_may_be_built(tmp_path):
    composition, alphabet = large(timed(tmp_path))
    assert needs_measured(composition, alphabet) == ()
    check_evidence(composition, alphabet, LLAMA)


def test_a_refusal_comes_out_of_a_worker_as_it_went_in() -> None:
    copied = pickle.loads(pickle.dumps(PrimitiveRefused("ADM-CAUSAL", "expected a causal mechanism")))
    assert isinstance(copied, PrimitiveRefused)
    assert (copied.rule, str(copied), copied.exit_code) == ("ADM-CAUSAL", "expected a causal mechanism", 1)
