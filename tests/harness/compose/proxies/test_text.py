from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
import torch

from harness.compose.proxies.presets import preset_of
from harness.compose.proxies.text import (
    BUILT_IN,
    TextData,
    documents,
    fingerprint,
    streams,
)
from harness.compose.proxies.training import evaluate
from harness.errors import HarnessError, WrongUsage
from tests.harness.compose.proxies.requests import CANDIDATES, request


def test_no_paragraph_of_the_built_in_corpus_serves_two_purposes() -> None:
    paragraphs = {
        purpose: set(stream.tobytes().decode().split("\n\n")) for purpose, stream in streams(BUILT_IN).items()
    }
    assert set(paragraphs) == {"train", "search", "selection", "final"}
    for one, other in combinations(paragraphs, 2):
        assert not paragraphs[one] & paragraphs[other]


def test_every_purpose_has_text_and_training_has_most() -> None:
    sizes = {purpose: len(stream) for purpose, stream in streams(BUILT_IN).items()}
    assert min(sizes.values()) > 3_000
    assert sizes["train"] > 0.6 * sum(sizes.values())
    assert sum(sizes.values()) > 0.7 * sum(len(text) for text in documents(BUILT_IN))


def test_where_text_belongs_does_not_hang_on_where_it_stands(tmp_path: Path) -> None:
    rows = [json.dumps({"text": f"section {i} says {i * i}"}) + "\n" for i in range(200)]
    (tmp_path / "one.jsonl").write_text("".join(rows))
    (tmp_path / "other.jsonl").write_text("".join(rows[::-1]))
    one, other = (streams(str(tmp_path / name)) for name in ("one.jsonl", "other.jsonl"))
    for purpose, stream in one.items():
        assert len(stream) > 0
        assert stream.tobytes() == other[purpose].tobytes()


def test_targets_are_the_bytes_that_follow() -> None:
    data = TextData(corpus=BUILT_IN, label="x", seed=0, length=10)
    batch = data.train(0, 3)
    assert batch.ids.shape == (3, 10)
    assert torch.equal(batch.targets.view(3, 10)[:, :-1], batch.ids[:, 1:])
    window = bytes(batch.ids[1].tolist())
    assert window in streams(BUILT_IN)["train"].tobytes()
    assert not torch.equal(batch.ids, data.train(1, 3).ids)


def test_the_score_of_an_even_guess_is_minus_eight_bits() -> None:
    data = TextData(corpus=BUILT_IN, label="x", seed=0, length=10)
    assert data.score(torch.zeros(5, 256), torch.arange(5)) == pytest.approx(-8.0)
    assert data.chance == -8.0


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_local_files_are_read_and_count_in_identities(tmp_path: Path, suffix: str) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [
        {"text": f"Document {i}.\n\nIt tells of {i * 7919} things, one after another."} for i in range(300)
    ]
    path = tmp_path / f"corpus.{suffix}"
    if suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        datasets.Dataset.from_list(rows).to_parquet(path)
    assert list(documents(str(path))) == [row["text"] for row in rows]
    asked = request("mA M", task=f"text/{path}", steps=2)
    assert asked.identities[f"text/{path}"] == fingerprint(str(path))
    assert -8.5 < evaluate(asked, candidates=CANDIDATES).score < -7.0


@pytest.mark.parametrize("name", ["[red]x.jsonl", "a?*b.jsonl", "c$\\foo$.jsonl"])
def test_the_name_of_a_file_is_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pytest.importorskip("datasets")
    (tmp_path / name).write_text(json.dumps({"text": name}) + "\n")
    assert list(documents(str(tmp_path / name))) == [name]
    monkeypatch.chdir(tmp_path)
    assert list(documents(name)) == [name]


def test_an_error_without_words_is_told_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def silent(*_: object, **__: object) -> None:
        raise IndexError

    monkeypatch.setattr(datasets, "load_dataset", silent)
    with pytest.raises(HarnessError, match=r"dclm: cannot be read \(IndexError: no reason\)"):
        list(documents("dclm"))


def test_text_teaches_something_in_a_few_steps() -> None:
    result = evaluate(request("mA M", task="text", steps=50), candidates=CANDIDATES)
    assert result.score > -6.0


def test_named_sets_without_a_network_are_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(HarnessError, match=r"babistories: cannot be read \(ConnectionError: no route"):
        list(documents("babistories"))


def test_named_sets_are_streamed_to_a_fixed_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    calls = []

    def load(name: str, **options: object):
        calls.append((name, options))
        return ({"text": "x" * 9_000_000} for _ in range(10))

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert len(list(documents("dclm"))) == 3
    assert calls == [("mlfoundations/dclm-baseline-1.0", {"split": "train", "streaming": True})]


def test_missing_files_and_unknown_names_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="expected a file, got none"):
        list(documents(str(tmp_path / "none.jsonl")))
    with pytest.raises(WrongUsage, match="pydoc, babistories"):
        documents("wikipedia")


def test_a_corpus_is_named_behind_the_task() -> None:
    assert preset_of("text/fineweb", "tiny").proxy.corpus == "fineweb"
    assert preset_of("text", "tiny").proxy.corpus == BUILT_IN
