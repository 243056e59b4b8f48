"""Read the mutants and apply them to their skeletons."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE.parents[1] / "templates"
STAGES = ("NUM", "GRD", "MEM")
"""The stages that reject by running a mechanism."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One wrong edit. `stage` is where it must fail; `dtype` is where its error shows.

    `group` names the group of full-depth cases that must see it; None where the cases of depth quick do.
    """

    skeleton: str
    name: str
    wrong: str
    stage: str
    edits: tuple[tuple[str, str], ...]
    dtype: str = "float32"
    group: str | None = None

    @property
    def label(self) -> str:
        """Like "token_decay/padding-decays"."""
        return f"{self.skeleton.rsplit('/', 1)[1]}/{self.name}"

    @property
    def source(self) -> str:
        """The mutated source. Raises ValueError where an edit does not match exactly once."""
        text = as_free(skeleton_source(self.skeleton))
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.label}: expected {old!r} exactly once, got {text.count(old)} times")
            text = text.replace(old, new)
        return text


def skeleton_source(skeleton: str) -> str:
    return (TEMPLATES / f"{skeleton}.py").read_text(encoding="utf-8")


def as_free(source: str) -> str:
    """The same mechanism without a template: its own text is all that it answers for."""
    if '"template": "free"' in source:
        return source
    text, named = re.subn(r'"template": "[^"]+"', '"template": "free"', source, count=1)
    text, slots = re.subn(r'"slots": \{.*?\},\n', '"slots": {},\n', text, count=1, flags=re.DOTALL)
    if not (named and slots):
        raise ValueError("expected a skeleton with a template and slots")
    return text


def mutants() -> list[Mutant]:
    """Every mutant of every skeleton, in file order. Raises ValueError at an entry that is not one."""
    found = []
    for path in sorted(HERE.glob("*/*.toml")):
        skeleton = f"{path.parent.name}/v1/{path.stem}"
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        found += [parse(entry, skeleton) for entry in document["mutant"]]
    return found


def parse(entry: dict[str, object], skeleton: str) -> Mutant:
    """A mutant from its TOML table. Raises ValueError for unknown or missing keys and unknown stages."""
    required, optional = {"name", "wrong", "stage", "edits"}, {"dtype", "group"}
    if not required <= set(entry) <= required | optional:
        raise ValueError(
            f"{skeleton}: expected the keys {sorted(required)}, perhaps dtype and group, got {sorted(entry)}"
        )
    texts = {key: value for key, value in entry.items() if isinstance(value, str)}
    if texts["stage"] not in STAGES:
        raise ValueError(f"{skeleton}/{texts['name']}: expected a stage of {STAGES}, got {texts['stage']}")
    edits = entry["edits"]
    if not (isinstance(edits, list) and edits and all(len(edit) == 2 for edit in edits)):
        raise ValueError(f"{skeleton}/{texts['name']}: expected edits of [old, new], got {edits!r}")
    return Mutant(
        skeleton=skeleton,
        name=texts["name"],
        wrong=texts["wrong"],
        stage=texts["stage"],
        edits=tuple((old, new) for old, new in edits),
        dtype=texts.get("dtype", "float32"),
        group=texts.get("group"),
    )
