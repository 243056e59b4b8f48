"""The primitives that a search may use, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.compose.primitives.attention import AttentionPrimitive
from harness.compose.primitives.contract import Primitive
from harness.compose.primitives.mamba2 import MambaPrimitive
from harness.compose.primitives.mlp import MLPPrimitive
from harness.errors import WrongUsage

BUILT_IN: tuple[Primitive, ...] = (AttentionPrimitive(), MLPPrimitive(), MambaPrimitive())


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
        near = difflib.get_close_matches(token, self.tokens, n=3, cutoff=0.3) or self.tokens
        raise WrongUsage(
            f"primitive {token!r}: expected one of the alphabet {', '.join(self.tokens)}; "
            f"nearest: {', '.join(near)}. Add it to the alphabet, or correct the composition."
        )

    def identities(self, tokens: Iterable[str]) -> Mapping[str, str]:
        """What the results of each distinct token hang on."""
        return {token: self[token].identity for token in sorted(set(tokens))}


def built_in() -> Alphabet:
    """All primitives that need no candidate."""
    return Alphabet(primitives=BUILT_IN)
