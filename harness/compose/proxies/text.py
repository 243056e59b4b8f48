"""Language modelling by bytes: held-out text by the content of its sections, scored in bits per byte."""

from __future__ import annotations

import glob
import hashlib
import importlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from harness.compose.corpus import cut
from harness.compose.proxies.data import Batch
from harness.compose.proxies.philox import generator
from harness.compose.proxies.request import Split
from harness.compose.proxies.splits import Purpose
from harness.compose.proxies.tasks.contract import Readout
from harness.errors import HarnessError, WrongUsage

VOCAB = 256
BUILT_IN = "pydoc"
NAMED: Mapping[str, tuple[str, str, str]] = {
    "babistories": ("facebook/babistories", "train", "text"),
    "dclm": ("mlfoundations/dclm-baseline-1.0", "train", "text"),
    "fineweb": ("HuggingFaceFW/fineweb", "train", "text"),
}
"""Public sets: where they are, which part is read, and which field holds the text."""
NAMED_CHARACTERS = 20_000_000
"""So much of a public set is read, from its beginning."""


@dataclass(frozen=True, kw_only=True)
class TextData:
    """Windows of `length` + 1 bytes of a corpus as data; the score is minus bits per byte."""

    corpus: str
    label: str
    seed: int
    length: int
    readout: Readout = "position"

    @property
    def chance(self) -> float:
        """Eight bits for a byte."""
        return -math.log2(VOCAB)

    def train(self, step: int, count: int) -> Batch:
        return self._windows("train", step, count)

    def evaluation(self, split: Split, count: int) -> Batch:
        return self._windows(split, 0, count)

    def score(self, logits: torch.Tensor, targets: torch.Tensor) -> float:
        return -float(F.cross_entropy(logits, targets)) / math.log(2.0)

    def _windows(self, purpose: Purpose, index: int, count: int) -> Batch:
        stream = streams(self.corpus)[purpose]
        if len(stream) <= self.length:
            raise HarnessError(
                f"corpus {self.corpus}: expected more than {self.length} bytes for {purpose}, got "
                f"{len(stream)}. Give it more text."
            )
        rng = generator(self.seed, "windows", self.label, purpose, index)
        starts = rng.integers(0, len(stream) - self.length, (count, 1))
        windows = torch.from_numpy(stream[starts + np.arange(self.length + 1)].astype(np.int64))
        return Batch(
            ids=windows[:, :-1].contiguous(),
            scored=torch.arange(count * self.length),
            targets=windows[:, 1:].flatten(),
        )


@lru_cache(maxsize=4)
def streams(corpus: str) -> Mapping[Purpose, NDArray[np.uint8]]:
    """The bytes of each purpose: sections in their order, a blank line between them.

    `corpus` is `pydoc` (the language reference that every Python brings along), a name in `NAMED`, or the
    path of a .jsonl or .parquet file with a field `text`. Raises WrongUsage for another name, HarnessError
    where the text cannot be read.
    """
    found = list(cut(named(corpus)))
    return {
        purpose: np.frombuffer(
            "\n\n".join(section.text for section in found if section.part == purpose).encode(), dtype=np.uint8
        )
        for purpose in get_args(Purpose)
    }


def documents(corpus: str) -> Iterator[str]:
    """The texts of a corpus, in order."""
    if corpus == BUILT_IN:
        return iter([text for _, text in sorted(topics().items())])
    if corpus in NAMED:
        return _bounded(_published(corpus))
    path = Path(corpus)
    if path.suffix not in (".jsonl", ".parquet"):
        raise WrongUsage(
            f"corpus {corpus!r}: expected {BUILT_IN}, {', '.join(NAMED)}, or the path of a .jsonl or "
            ".parquet file with a field 'text'."
        )
    return _from_file(path)


def named(corpus: str) -> Mapping[str, str]:
    """The texts of a corpus by names that do not hang on their order: topics, or what the texts hash to."""
    if corpus == BUILT_IN:
        return topics()
    return {hashlib.sha256(text.encode()).hexdigest(): text for text in documents(corpus)}


def topics() -> Mapping[str, str]:
    """The language reference that every Python brings along."""
    found: Mapping[str, str] = importlib.import_module("pydoc_data.topics").topics
    return found


@lru_cache(maxsize=4)
def fingerprint(corpus: str) -> str:
    """SHA-256 over all streams: what results on this corpus hang on."""
    digest = hashlib.sha256()
    for purpose, stream in sorted(streams(corpus).items()):
        digest.update(f"{purpose}:{len(stream)}:".encode())
        digest.update(stream.tobytes())
    return digest.hexdigest()


def _from_file(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise HarnessError(f"corpus {path}: expected a file, got none. Correct the path.")
    kind = "json" if path.suffix == ".jsonl" else "parquet"
    return _texts(kind, "train", "text", str(path), data_files=glob.escape(str(path)))  # it takes patterns


def _published(corpus: str) -> Iterator[str]:
    name, part, field = NAMED[corpus]
    return _texts(name, part, field, corpus)


def _texts(name: str, part: str, field: str, shown: str, **options: Any) -> Iterator[str]:
    """The texts of a data set, streamed: only what is used is fetched."""
    try:
        datasets = importlib.import_module("datasets")
    except ModuleNotFoundError:
        raise HarnessError(
            f"corpus {shown}: expected the package 'datasets', which is not installed. "
            f"Install it, or use the corpus {BUILT_IN}."
        ) from None
    try:
        for row in datasets.load_dataset(name, split=part, streaming=True, **options):
            yield str(row[field])
    except Exception as error:  # noqa: BLE001  the library raises what the network, the disk and parsers raise
        reason = (str(error).splitlines() or ["no reason"])[0][:200]
        raise HarnessError(
            f"corpus {shown}: cannot be read ({type(error).__name__}: {reason}). "
            f"Without a network use the corpus {BUILT_IN}, or a .jsonl or .parquet file."
        ) from None


def _bounded(texts: Iterator[str]) -> Iterator[str]:
    used = 0
    for text in texts:
        yield text
        used += len(text)
        if used >= NAMED_CHARACTERS:
            return
