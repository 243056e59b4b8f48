"""The shared definitions agree with other ways to say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from verify.foreign.draws import draw_tensors
from verify.foreign.properties import questions
from verify.foreign.reference import known
from verify.foreign.references import causal_attention, delta_state, linear_state


def normal(*shape: int, seed: int = 0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_linear_state_is_a_masked_sum_with_decays_in_between() -> None:
    q, k, v = (normal(2, 6, 3, 4, seed=s) for s in range(3))
    a = torch.nn.functional.logsigmoid(normal(2, 6, 3, seed=3))
    o, state = linear_state(q, k, v, a[..., None, None], scale=0.5)
    total = torch.cumsum(a, 1).transpose(1, 2)
    weight = torch.exp(total[..., :, None] - total[..., None, :]).tril()
    scores = torch.einsum("bihk,bjhk->bhij", q, k) * weight * 0.5
    assert torch.allclose(o, torch.einsum("bhij,bjhv->bihv", scores, v))
    last = torch.exp(total[..., -1:] - total)
    assert torch.allclose(state, torch.einsum("bhj,bjhk,bjhv->bhkv", last, k, v))


def test_a_delta_step_with_beta_1_stores_the_value_under_its_key() -> None:
    k = torch.nn.functional.normalize(normal(1, 5, 2, 4), dim=-1)
    v = normal(1, 5, 2, 3, seed=1)
    ones, zeros = torch.ones(1, 5, 2, dtype=k.dtype), torch.zeros(1, 5, 2, dtype=k.dtype)
    o, _ = delta_state(k, k, v, ones, zeros, scale=1.0)
    assert torch.allclose(o, v)


def test_packed_sequences_are_the_sequences_one_by_one() -> None:
    q, k, v = (normal(1, 9, 2, 4, seed=s) for s in range(3))
    a = torch.nn.functional.logsigmoid(normal(1, 9, 2, seed=3))
    borders = torch.tensor([0, 4, 5, 9])
    for run in (
        lambda x, y, z, g, c: linear_state(x, y, z, g[..., None, None], scale=1.0, cu_seqlens=c)[0],
        lambda x, y, z, g, c: causal_attention(x, y, z, scale=1.0, log_decay=g, window=3, cu_seqlens=c),
    ):
        packed = run(q, k, v, a, borders)
        alone = [run(*(x[:, i:j] for x in (q, k, v, a)), None) for i, j in ((0, 4), (4, 5), (5, 9))]
        assert torch.allclose(packed, torch.cat(alone, dim=1))


def test_attention_is_pytorchs_where_pytorch_has_it() -> None:
    q, k, v = normal(2, 7, 4, 3), normal(2, 7, 2, 3, seed=1), normal(2, 7, 2, 5, seed=2)
    mine = causal_attention(q, k, v, scale=0.7)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        *(x.transpose(1, 2) for x in (q, k, v)), is_causal=True, scale=0.7, enable_gqa=True
    )
    assert torch.allclose(mine, theirs.transpose(1, 2))


def test_a_sink_takes_weight_and_gives_no_value() -> None:
    q, k, v = (normal(1, 4, 1, 3, seed=s) for s in range(3))
    full = causal_attention(q, k, v, scale=1.0, sink=torch.tensor([50.0], dtype=q.dtype))
    assert full.abs().max() < 1e-12


def test_the_example_on_the_page_is_a_spec_whose_reference_holds() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "foreign.md").read_text()
    text = page.split("```python\n", 1)[1].split("```", 1)[0]
    text = text.replace("from mylib import scan\n", "").replace('"mylib==1.2.*"', "")
    found = {"torch": torch}
    exec(text.replace("requires=(,)", "requires=()"), found)
    spec = found["SPEC"]
    case = spec.cases[0]
    tensors = draw_tensors(spec, case, "float32")
    known(spec, case, tensors, "float32")
    assert [question.rule for question in questions(spec)].count("PRP-RESUME") == 2
