"""The primitives that a search may use, by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.compose.primitives.attention import AttentionPrimitive
from harness.compose.primitives.contract import Primitive
from harness.compose.primitives.mamba2 import MambaPrimitive
from harness.compose.primitives.mechanism import MechanismPrimitive, PrimitiveRefused, load_primitive
from harness.compose.primitives.mlp import MLPPrimitive
from harness.compose.shape import ModelShape
from harness.errors import WrongUsage

BUILT_IN: tuple[Primitive, ...] = (AttentionPrimitive(), MLPPrimitive(), MambaPrimitive())
_FOLDER = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*-(?P<id>[a-z2-7]{8})")


@dataclass(frozen=True, kw_only=True)
class Alphabet:
    """Primitives in the order in which they were named, each token once."""

    primitives: tuple[Primitive, ...]

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(primitive.token for primitive in self.primitives)

    def __getitem__(self, token: str) -> Primitive:
        """The primitive of this token. Raises WrongUsage, naming the nearest, where there is none."""
        for primitive in self.primitives:
            if primitive.token == token:
                return primitive
        raise WrongUsage(
            f"primitive {token!r}: expected one of the alphabet {', '.join(self.tokens)}; "
            f"nearest: {_nearest(token, self.tokens)}. Add it to the alphabet, or correct the composition."
        )

    def identities(self, tokens: Iterable[str]) -> Mapping[str, str]:
        """What the results of each distinct token hang on."""
        return {token: self[token].identity for token in sorted(set(tokens))}


def built_in() -> Alphabet:
    """All primitives that need no candidate."""
    return Alphabet(primitives=BUILT_IN)


def resolve(names: Sequence[str], candidates: Path) -> Alphabet:
    """The alphabet of these names: `mA`, `M`, `Mb`, or mechanisms under the folder `candidates` by their id
    (`pzbb45xn`), `<slug>-<id>` or `<family>/<slug>-<id>`; a primitive named twice counts once.

    Raises WrongUsage for an empty list or an unknown name, PrimitiveRefused for a mechanism that must not be
    composed.
    """
    if not names:
        raise WrongUsage("alphabet: expected at least one primitive, got none. Write 'mA,M', say.")
    fixed = {primitive.token: primitive for primitive in BUILT_IN}
    folders = _folders(candidates)
    found: dict[str, Primitive] = {}
    for name in names:
        primitive = fixed.get(name) or _loaded(_folder(name, folders, candidates))
        found.setdefault(primitive.token, primitive)
    return Alphabet(primitives=tuple(found.values()))


def admitted(candidates: Path) -> tuple[MechanismPrimitive, ...]:
    """Every mechanism under `candidates` that may be composed, by family and name."""
    found = []
    for folder in _folders(candidates).values():
        try:
            found.append(_loaded(folder))
        except PrimitiveRefused:
            continue  # bidirectional, or not admitted under these rules: `verify` says which and why
    return tuple(found)


def quickest_of_families(candidates: Path, shape: ModelShape, length: int) -> tuple[MechanismPrimitive, ...]:
    """Of each family under `candidates` the mechanism with the fewest operations over `length` tokens, the
    earlier name of two; by family.
    """
    chosen: dict[str, MechanismPrimitive] = {}
    for primitive in admitted(candidates):
        known = chosen.setdefault(primitive.family, primitive)
        if primitive.flops(shape, length) < known.flops(shape, length):
            chosen[primitive.family] = primitive
    return tuple(chosen.values())


def _folders(candidates: Path) -> Mapping[str, Path]:
    """Candidate folders by `<family>/<slug>-<id>`, in order."""
    folders = sorted(path.parent for path in candidates.glob("*/*/mechanism.py"))
    return {f"{folder.parent.name}/{folder.name}": folder for folder in folders}


def _loaded(folder: Path) -> MechanismPrimitive:
    """The mechanism in a folder that is named after it. Raises PrimitiveRefused for any other name: studies
    and configurations know mechanisms by these names.
    """
    primitive, match = load_primitive(folder), _FOLDER.fullmatch(folder.name)
    if match is None or match["id"] != primitive.token:
        raise PrimitiveRefused(
            "ADM-NAME",
            f"{folder}: ADM-NAME expected a folder whose name ends in -{primitive.token}, the id of the "
            "mechanism in it. Rename it.",
        )
    return primitive


def _folder(name: str, folders: Mapping[str, Path], candidates: Path) -> Path:
    for full, folder in folders.items():
        match = _FOLDER.fullmatch(folder.name)
        if name in (full, folder.name) or (match is not None and name == match["id"]):
            return folder
    ids = [match["id"] for folder in folders.values() if (match := _FOLDER.fullmatch(folder.name))]
    known = [*(primitive.token for primitive in BUILT_IN), *ids, *folders]
    raise WrongUsage(
        f"primitive {name!r}: expected {', '.join(p.token for p in BUILT_IN)}, or a mechanism under "
        f"{candidates} ({len(folders)} there); nearest: {_nearest(name, known)}."
    )


def _nearest(name: str, known: Sequence[str]) -> str:
    folded = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.3)
    return ", ".join([folded[one] for one in near] or known[:3])
