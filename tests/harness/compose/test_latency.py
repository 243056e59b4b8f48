from __future__ import annotations

import pytest

from harness.compose.baselines import baseline
from harness.compose.composition import parse
from harness.compose.latency import Latency, predict
from harness.compose.primitives.alphabet import built_in
from harness.compose.sizes import LLAMA, SIZES
from verify.device.sheets import SHEETS


def latency(text: str, target: str = "sm_90", length: int = 8192) -> Latency:
    return predict(parse(text), built_in(), LLAMA, SHEETS[target], length=length)


def test_decoding_reads_every_weight_and_the_cache():
    made = baseline("llama-3.2", SIZES["1B"])
    found = predict(made.composition, built_in(), made.shape, SHEETS["sm_90"])
    least = (2 * made.counts.parameters + made.counts.state_bytes) / SHEETS["sm_90"].dram_bytes
    assert least <= found.decode <= 1.01 * least
    assert found.evidence == "predicted"


def test_prefill_computes_every_product_but_those_of_the_head():
    made = baseline("llama-3.2", SIZES["1B"])
    found = predict(made.composition, built_in(), made.shape, SHEETS["sm_90"])
    head = 2 * made.shape.d_model * made.shape.vocab
    flops = (made.counts.flops_per_token - head) * made.counts.length
    assert found.prefill == pytest.approx(flops / SHEETS["sm_90"].tensor_flops("bf16"), rel=0.02)


def test_only_attention_decodes_slower_after_a_longer_context():
    assert latency("mA", length=65_536).decode > latency("mA").decode
    assert latency("Mb", length=65_536).decode == latency("Mb").decode


def test_layers_add_up():
    head = latency("M").decode * 2 - latency("M M").decode
    together = latency("mA M Mb").prefill - head
    assert together == pytest.approx(sum(latency(one).prefill - head for one in ("mA", "M", "Mb")))


def test_a_faster_device_takes_less_time():
    assert latency("mA M", "sm_100").prefill < latency("mA M", "sm_80").prefill
