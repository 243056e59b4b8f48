from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from harness.compose.composition import Composition, parse
from harness.compose.model import ComposedModel
from harness.compose.primitives.alphabet import built_in
from harness.compose.shape import ModelShape
from harness.errors import WrongUsage

SHAPE = ModelShape(d_model=32, heads=4, kv_heads=2, head_dim=8, ffn=48, vocab=17, ssm_head_dim=16)


def model(text: str = "mA M M mA", seed: int = 0, **changes: object) -> ComposedModel:
    return ComposedModel(parse(text), built_in(), SHAPE.with_(**changes), seed=seed)


def ids(*, batch: int = 2, length: int = 23) -> torch.Tensor:
    return torch.randint(0, SHAPE.vocab, (batch, length), generator=torch.Generator().manual_seed(1))


def test_logits_have_a_row_for_each_position():
    assert model()(ids()).shape == (2, 23, SHAPE.vocab)


@pytest.mark.parametrize("text", ["mA M", "M mA mA", "Mb", "mA Mb M"])
def test_a_suffix_does_not_reach_the_prefix(text):
    built, before = model(text), ids()
    after = before.clone()
    after[:, 11:] = (after[:, 11:] + 1) % SHAPE.vocab
    torch.testing.assert_close(built(before)[:, :11], built(after)[:, :11], rtol=0, atol=1e-5)
    assert not torch.allclose(built(before)[:, 11:], built(after)[:, 11:])


def test_a_pure_mlp_stack_knows_nothing_of_other_tokens():
    built, tokens = model("M M M"), ids()
    alone = torch.cat([built(tokens[:, t : t + 1]) for t in range(tokens.shape[1])], dim=1)
    torch.testing.assert_close(built(tokens), alone, rtol=0, atol=1e-5)


def test_attention_moves_information_forward():
    built, tokens = model("mA"), ids()
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % SHAPE.vocab
    assert not torch.allclose(built(tokens)[:, -1], built(changed)[:, -1])


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generator_alone():
    before = torch.get_rng_state()
    first, again, other = model(seed=3).state_dict(), model(seed=3).state_dict(), model(seed=4).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


@pytest.mark.parametrize("text", ["mA M", "Mb M", "mA M Mb M mA M Mb M mA M Mb M mA M Mb M"])
def test_a_new_model_is_about_as_unsure_as_chance(text):
    built, tokens = model(text), ids(batch=16)
    chance = torch.tensor(SHAPE.vocab).log()
    assert abs(built(tokens, tokens.roll(3, 1)) - chance) < 1.0


def test_what_layers_add_to_the_residual_stream_does_not_grow_with_depth():
    def added(text: str) -> torch.Tensor:
        built = model(text)
        start = x = built.embedding(ids())
        for layer in built.layers:
            x = layer(x)
        return (x - start).std()

    assert 0.5 < added("mA M") / added("mA M " * 16) < 2


def test_the_loss_is_the_mean_cross_entropy_over_the_masked_positions():
    built, tokens = model(), ids()
    mask = tokens % 3 == 0
    expected = F.cross_entropy(built(tokens)[mask], tokens.roll(1, 1)[mask])
    torch.testing.assert_close(built(tokens, tokens.roll(1, 1), mask), expected)


def test_every_weight_has_a_gradient():
    built = model(tied=False)
    built(ids(), ids()).backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in built.parameters())


def test_names_of_weights_are_stable():
    assert list(model("mA M", tied=False).state_dict()) == [
        "embedding.weight",
        "layers.0.norm.weight",
        "layers.0.mixer.qkv.weight",
        "layers.0.mixer.out.weight",
        "layers.1.norm.weight",
        "layers.1.mixer.up_gate.weight",
        "layers.1.mixer.out.weight",
        "norm.weight",
        "head.weight",
    ]


def test_an_unknown_token_is_refused_with_the_nearest():
    with pytest.raises(WrongUsage, match="nearest: mA"):
        ComposedModel(Composition(("mAA",)), built_in(), SHAPE)


@pytest.mark.slow
def test_a_model_of_built_in_primitives_compiles_to_one_graph():
    built, tokens = model("mA M Mb"), ids()
    whole = torch.compile(built, backend="eager", fullgraph=True)
    torch.testing.assert_close(whole(tokens, tokens), built(tokens, tokens))


def test_fake_tensors_leave_nothing_behind():
    built, tokens = model("mA"), ids(length=29)
    with FakeTensorMode(allow_non_fake_inputs=True):
        built(torch.zeros(2, 29, dtype=torch.long))
    assert built(tokens).isfinite().all()


@pytest.mark.parametrize("text", ["mA", "M", "Mb"])
def test_bfloat16_stays_near_float32(text):
    built, tokens = model(text), ids()
    expected = built(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(built(tokens).float(), expected, rtol=0.05, atol=0.1)
    torch.testing.assert_close(built.bfloat16()(tokens).float(), expected, rtol=0.05, atol=0.1)
