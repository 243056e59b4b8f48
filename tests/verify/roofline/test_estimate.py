"""From a mechanism and sizes to bounds: cases as text, workers that count, the command line."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from verify.cli import app
from verify.roofline.shapes import shape_case
from verify.source.contract import Spec
from verify.source.static import check_static

TEMPLATES = Path(__file__).resolve().parents[3] / "templates"
PLAIN = TEMPLATES / "softmax_attention/v1/plain.py"
UNGATED = TEMPLATES / "linear_state/v1/ungated.py"


@functools.cache
def spec_of(path: Path) -> Spec:
    mechanism = check_static(path.read_bytes(), path=str(path)).mechanism
    assert mechanism is not None
    return mechanism.spec


def test_sizes_that_are_not_given_are_those_of_the_reference_shape() -> None:
    case = shape_case(spec_of(UNGATED), "T=8192 V=32", "bfloat16")
    assert case.size_map == {"B": 4, "T": 8192, "H": 16, "K": 64, "V": 32}
    assert shape_case(spec_of(UNGATED), "D=128,K=16", "float32").size_map["V"] == 128


def test_heads_that_are_a_product_can_be_given_either_way() -> None:
    assert shape_case(spec_of(PLAIN), "H=8", "bfloat16").size_map["G"] == 8
    both = shape_case(spec_of(PLAIN), "G=2,R=4", "bfloat16").size_map
    assert (both["G"], both["R"]) == (2, 4)


@pytest.mark.parametrize(
    ("path", "text", "dtype", "message"),
    [
        (UNGATED, "B=1,Q=3", "bfloat16", "got Q"),
        (UNGATED, "B=", "bfloat16", "such as B=4,T=8192"),
        (UNGATED, "B=1,B=2", "bfloat16", "each once"),
        (UNGATED, "T=0", "bfloat16", "such as B=4,T=8192"),
        (UNGATED, "T=8", "int8", "--dtype"),
        (PLAIN, "G=128", "bfloat16", "does not allow G=128"),
        (PLAIN, "G=2,R=4,H=7", "bfloat16", "agree with"),
    ],
)
def test_sizes_that_cannot_be_are_refused(path: Path, text: str, dtype: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shape_case(spec_of(path), text, dtype)


def test_a_mechanism_is_counted_and_bounded(tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    command = ["roofline", str(UNGATED), "--shape", "B=1,H=2,T=70,K=16,V=16", "--target", "sm_80"]
    done = CliRunner().invoke(app, [*command, "--json", "--output", str(target)])
    assert done.exit_code == 0, done.output
    document = json.loads(target.read_bytes())
    assert document["device"] == "A100 SXM 80 GB"
    assert "not a measurement" in document["label"]
    assert document["findings"] == []
    phases = [row["phase"] for row in document["launches"]]
    assert phases == sorted(phases, reverse=True)
    assert {"forward", "backward"} <= set(phases)
    assert all(row["complete"] for row in document["launches"])
    assert document["microseconds"] == pytest.approx(sum(row["microseconds"] for row in document["launches"]))
    output = next(row for row in document["launches"] if row["kernel"] == "_output_kernel")
    assert set(output["counts"]["dot_flops"]) == {"bf16"}
    stored = {one["name"]: one["unique_stored"] for one in output["arguments"] if one["unique_stored"]}
    assert list(stored.values()) == [70 * 2 * 16 * 2]  # the output (T, H, V) in two bytes, written once


def test_a_wrong_size_is_wrong_usage() -> None:
    done = CliRunner().invoke(app, ["roofline", str(UNGATED), "--shape", "W=3"])
    assert done.exit_code == 2
