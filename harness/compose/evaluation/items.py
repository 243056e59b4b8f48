"""Items of the built-in tasks, made from held-out sections whenever they are asked for: no file to download,
none to keep in step with the corpus.

The task files in `tasks` name the two functions `held_out_sections` and `continuations`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING

from harness.chance import generator, pick
from harness.compose.corpus import Section, sections

if TYPE_CHECKING:
    from datasets import DatasetDict

CONTEXT, CONTINUATION, CHOICES = 96, 48, 4
"""Characters (all ASCII, so bytes too) before the gap and after it, and how many continuations to choose
from."""
STRIDE = 160
"""Characters from one gap to the next: the texts of two items share nothing."""
MOST_SPACES = 16
"""A continuation with more spaces than these is layout, not text."""
FEWEST_CHARACTERS = 8
"""A continuation of fewer different characters is the border of a table."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """`context` is followed by `choices[answer]` in the section; the other choices come from elsewhere."""

    section: str
    context: str
    choices: tuple[str, ...]
    answer: int


def held_out_sections(**_: object) -> DatasetDict:
    """The documents of bits per byte: {"test": name and text of each held-out section}.

    lm-eval hands over its own metadata, which changes nothing.
    """
    return _dataset([asdict(section) for section in sections("final")])


def continuations(**_: object) -> DatasetDict:
    """The items of the choice between continuations: {"test": section, context, choices, answer}."""
    return _dataset([asdict(item) for item in _built_in_items()])


@cache
def _built_in_items() -> tuple[Item, ...]:
    return tuple(make_items(sections("final")))


def make_items(texts: Sequence[Section], *, seed: int = 0) -> list[Item]:
    """An item for every gap between words that fits, in order; wrong choices from other sections' words."""
    pools = {text.name: _gaps(text.text, stride=1) for text in texts}
    items = []
    for text in texts:
        others = [other for other in texts if other.name != text.name and pools[other.name]]
        for gap in _gaps(text.text, stride=STRIDE):
            rng = generator(seed, "continuation", text.name, gap)
            wrong = _wrong_choices(rng, others, pools)
            items.append(_item(rng, text, gap, wrong))
    return items


def _wrong_choices(rng: random.Random, others: Sequence[Section], pools: dict[str, list[int]]) -> list[str]:
    chosen = rng.sample(others, CHOICES - 1)
    gaps = [pick(rng, pools[other.name]) for other in chosen]
    return [other.text[gap : gap + CONTINUATION] for other, gap in zip(chosen, gaps, strict=True)]


def _item(rng: random.Random, text: Section, gap: int, wrong: list[str]) -> Item:
    answer = rng.randrange(CHOICES)
    choices = [*wrong[:answer], text.text[gap : gap + CONTINUATION], *wrong[answer:]]
    return Item(
        section=text.name, context=text.text[gap - CONTEXT : gap], choices=tuple(choices), answer=answer
    )


def _gaps(text: str, *, stride: int) -> list[int]:
    """Beginnings of words with room before and after, at least `stride` characters apart."""
    found: list[int] = []
    for gap in range(CONTEXT, len(text) - CONTINUATION + 1):
        if found and gap < found[-1] + stride:
            continue
        if _is_gap(text, gap):
            found.append(gap)
    return found


def _is_gap(text: str, gap: int) -> bool:
    after = text[gap : gap + CONTINUATION]
    begins = text[gap - 1].isspace() and not after[0].isspace()
    is_text = after.count(" ") <= MOST_SPACES and len(set(after)) >= FEWEST_CHARACTERS
    return begins and is_text and text[gap - CONTEXT : gap].isascii() and after.isascii()


def _dataset(rows: list[dict[str, object]]) -> DatasetDict:
    from datasets import Dataset, DatasetDict  # noqa: PLC0415  comes with lm-eval, which is optional

    return DatasetDict(test=Dataset.from_list(rows))
