"""Two candidates that are one mechanism: the same source, the same source under other names, or the same
results.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from verify.findings import Finding
from verify.gate.changes import SKELETON
from verify.gate.records import Judged, Located
from verify.judge.behaviour import same_behaviour
from verify.source.identity import fingerprint

SAME_SOURCE, SAME_FORM, SAME_RESULTS = "source", "form", "behaviour"
_WORDS = {
    SAME_SOURCE: "the same source",
    SAME_FORM: "the same source up to names, comments and TUNING",
    SAME_RESULTS: "the same results on the judge's fixed inputs",
}


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What tells a mechanism from others; None where it is not known. `path` is its folder, or skeleton
    file.
    """

    path: str
    source: str | None
    form: str | None
    behaviour: str | None

    def shares(self, other: Traits) -> str | None:
        """The strongest trait that both have."""
        for name in (SAME_SOURCE, SAME_FORM):
            own = getattr(self, name)
            if own is not None and own == getattr(other, name):
                return name
        return SAME_RESULTS if _same_results(self.behaviour, other.behaviour) else None


def traits_of_candidate(folder: str, source: str, judged: Judged) -> Traits:
    """Traits of a candidate of this pull request, from what the judge said about it just now."""
    return Traits(
        path=folder,
        source=str(judged.verdict["source_hash"]),
        form=_form(source),
        behaviour=behaviour_of(judged.verdict),
    )


def known_traits(tree: Mapping[str, bytes]) -> list[Traits]:
    """Traits of every candidate and skeleton of a commit (path -> bytes), from what is committed beside
    it.
    """
    found = []
    for path, data in sorted(tree.items()):
        if SKELETON.fullmatch(path):
            found.append(Traits(path=path, source=None, form=_form(_text(data)), behaviour=None))
        elif path.startswith("candidates/") and path.count("/") == 3 and path.endswith("/mechanism.py"):
            folder = path.removesuffix("/mechanism.py")
            verdict = _object(tree.get(f"{folder}/verdict.json", b""))
            source = verdict.get("source_hash")
            found.append(
                Traits(
                    path=folder,
                    source=source if isinstance(source, str) else None,
                    form=_form(_text(data)),
                    behaviour=behaviour_of(verdict),
                )
            )
    return found


def behaviour_of(verdict: Mapping[str, Any]) -> str | None:
    """The digest of what a mechanism computes; None where a verdict does not say."""
    digest = verdict.get("behaviour")
    return digest if isinstance(digest, str) and digest else None


def find_duplicates(new: Iterable[Traits], known: Iterable[Traits]) -> list[Located]:
    """ADM-DUPLICATE for each new candidate that equals a known mechanism, or one new one before it."""
    found = []
    seen = list(known)
    for candidate in new:
        twins = [
            (other, shared)
            for other in seen
            if other.path != candidate.path and (shared := candidate.shares(other))
        ]
        if twins:
            other, shared = min(twins, key=lambda twin: (list(_WORDS).index(twin[1]), twin[0].path))
            found.append(
                Located(
                    path=f"{candidate.path}/mechanism.py",
                    finding=Finding(
                        rule="ADM-DUPLICATE",
                        message=f"expected a mechanism that is not there yet, got {_WORDS[shared]} as "
                        f"{other.path}. "
                        "Keep one of the two.",
                    ),
                )
            )
        seen.append(candidate)
    return found


def _same_results(first: str | None, second: str | None) -> bool:
    """What a pull request says about behaviour may be anything; what is no digest equals nothing."""
    try:
        return first is not None and second is not None and same_behaviour(first, second)
    except ValueError:
        return False


def _form(source: str) -> str | None:
    try:
        return fingerprint(source)
    except (SyntaxError, ValueError, RecursionError, KeyError):
        return None


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
