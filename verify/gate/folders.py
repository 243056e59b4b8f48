"""What a candidate folder must be, whatever its mechanism computes: files, name, and that it is
append-only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from verify.findings import Finding
from verify.gate.changes import SAFE_FOLDER, Subject
from verify.gate.records import Located
from verify.gate.words import one_line
from verify.source.identity import short_id
from verify.source.static import Mechanism

MAX_BYTES = 4 << 20
"""More than any file of a candidate has."""

_NAME = re.compile(r"(?P<slug>[a-z0-9]+(?:-[a-z0-9]+)*)-(?P<id>[a-z2-7]{8})")
_MEASURED = re.compile(r"measured/[A-Za-z0-9][A-Za-z0-9._-]*\.json")


def check_layout(root: Path, subject: Subject) -> list[Located]:
    """ADM-LAYOUT: exactly mechanism.py, verdict.json and measured/<device>.json, as plain files."""
    found = []
    relative = {path.removeprefix(f"{subject.path}/"): path for path in subject.files}
    for name, path in relative.items():
        if name not in ("mechanism.py", "verdict.json") and not _MEASURED.fullmatch(name):
            found.append(
                _layout(
                    path,
                    f"expected only mechanism.py, verdict.json and measured/<device>.json, got "
                    f"{one_line(name)}. Remove it.",
                )
            )
        elif not _is_plain(root, path):
            found.append(
                _layout(
                    path,
                    "expected a regular file of at most 4 MiB, in regular folders, got a link "
                    "or something larger. Commit the file itself.",
                )
            )
        elif name.startswith("measured/") and not _is_object(root / path):
            found.append(
                _layout(
                    path,
                    "expected one JSON object, got something else. Let the judge write it: "
                    "`python -m verify refresh`.",
                )
            )
    missing = [name for name in ("mechanism.py", "verdict.json") if name not in relative]
    missing += [] if any(name.startswith("measured/") for name in relative) else ["measured/<device>.json"]
    found += [
        _layout(
            f"{subject.path}/{name}",
            "expected this file, found none. A candidate is kept whole or not at all.",
        )
        for name in missing
    ]
    return found


def check_name(subject: Subject, mechanism: Mechanism | None) -> list[Located]:
    """ADM-NAME: <family of SPEC>/<slug>-<first characters of the source hash>."""
    path = subject.mechanism
    if not SAFE_FOLDER.fullmatch(subject.path):
        return [
            _name(
                path,
                "expected candidates/<family>/<slug>-<id> in lower-case letters, digits and hyphens, "
                f"got {one_line(subject.path)}. Nothing in it was opened.",
            )
        ]
    if mechanism is None:
        return []
    _, family, name = subject.path.split("/")
    found = []
    if family != mechanism.family:
        found.append(
            _name(
                path,
                f"expected it under candidates/{mechanism.family}/, the family of its SPEC, got "
                f"candidates/{family}/. Move the folder there.",
            )
        )
    match, expected = _NAME.fullmatch(name), short_id(mechanism.source_hash)
    if match is None or match["id"] != expected:
        got = repr(match["id"]) if match else f"the name {name!r}"
        found.append(
            _name(
                path,
                f"expected a folder name that ends in -{expected}, the id of this source, got {got}. "
                "The folder was renamed by hand, or the source was changed after it was "
                "named.",
            )
        )
    return found


def check_append_only(
    root: Path, subject: Subject, still_in_base: Mapping[str, bytes], *, others: Iterable[Subject] = ()
) -> list[Located]:
    """ADM-EDITED: a mechanism that was there before has the same bytes. ADM-REMOVED: and it is still there.

    `still_in_base` is the tree of the base branch's tip: what it removed itself may be absent here. `others`
    are looked through for the folder that a removed candidate was renamed to.
    """
    path = subject.mechanism
    before = subject.before.get(path)
    if before is None:
        return []
    what = "skeleton" if subject.kind == "skeleton" else "candidate"
    if path not in subject.files:
        return [_removed(root, subject, what, others)] if path in still_in_base else []
    now = (root / path).read_bytes() if _is_plain(root, path) else b""
    if now in (before, still_in_base.get(path)):
        return []
    line = first_difference(before, now)
    advice = (
        "Put it back, and add the change as a new version beside it."
        if subject.kind == "skeleton"
        else "Put it back, and add the change as a new candidate with a name of its own."
    )
    return [
        Located(
            path=path,
            finding=Finding(
                rule="ADM-EDITED",
                line=line,
                message=f"expected the bytes of the base branch, got others from line {line}. A {what}'s "
                f"source never changes under its name. {advice}",
            ),
        )
    ]


def _removed(root: Path, subject: Subject, what: str, others: Iterable[Subject]) -> Located:
    before = subject.before[subject.mechanism]
    moved = next(
        (
            other.path
            for other in others
            if other.change == "added"
            and can_be_judged(root, other)
            and (root / other.mechanism).read_bytes() == before
        ),
        None,
    )
    where = f" Its source is now in {moved}: it was renamed by hand." if moved else ""
    message = (
        f"expected the {what} of the base branch to stay, found it removed.{where} "
        f"{what.capitalize()}s are append-only: put it back as it was."
    )
    return Located(path=subject.mechanism, finding=Finding(rule="ADM-REMOVED", message=message))


def first_difference(before: bytes, now: bytes) -> int:
    """The 1-based line of `now` at which it stops being `before`."""
    old, new = before.split(b"\n"), now.split(b"\n")
    same = next(
        (number for number, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), None
    )
    return (min(len(old), len(new)) - 1 if same is None else same) + 1


def can_be_judged(root: Path, subject: Subject) -> bool:
    """A mechanism in a plain file under a plain name. Links could lead out of the checkout."""
    is_named = subject.kind == "skeleton" or SAFE_FOLDER.fullmatch(subject.path) is not None
    return subject.mechanism in subject.files and is_named and _is_plain(root, subject.mechanism)


def _is_plain(root: Path, path: str) -> bool:
    """A regular file of a sensible size, reached through no link."""
    full = root / path
    parents = [root.joinpath(*path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)]
    if full.is_symlink() or any(parent.is_symlink() for parent in parents):
        return False
    return full.is_file() and full.stat().st_size <= MAX_BYTES


def _is_object(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (ValueError, RecursionError):
        return False


def _layout(path: str, message: str) -> Located:
    return Located(path=path, finding=Finding(rule="ADM-LAYOUT", message=message))


def _name(path: str, message: str) -> Located:
    return Located(path=path, finding=Finding(rule="ADM-NAME", message=message))
