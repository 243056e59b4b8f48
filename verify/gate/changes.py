"""What a pull request changes, as candidate folders and skeletons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from verify.gate.git import Repository

Change = Literal["added", "modified", "removed", "unchanged"]
Kind = Literal["candidate", "skeleton"]

WATCHED = ("candidates", "templates", "verify")
SKELETON = re.compile(r"templates/[a-z0-9_]+/v[0-9]+/[a-z0-9_]+\.py")
SAFE_FOLDER = re.compile(r"candidates/[a-z0-9_]+/[a-z0-9-]+")
"""Folder names that are judged at all; anything else is a finding without being opened."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One candidate folder, or one skeleton file, to be looked at.

    `files` are its paths on disk, relative to the checkout; `before` maps its paths to their bytes at the
    merge base.
    """

    kind: Kind
    path: str
    change: Change
    files: tuple[str, ...]
    before: Mapping[str, bytes] = field(repr=False)

    @property
    def mechanism(self) -> str:
        """The mechanism's file."""
        return self.path if self.kind == "skeleton" else f"{self.path}/mechanism.py"

    @property
    def is_new_source(self) -> bool:
        """True where the mechanism was not there at the merge base, or not like this."""
        return self.change == "added" or self.mechanism not in self.before


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Everything that the gate looks at. `strays` are changed paths under candidates/ that no candidate
    may have.
    """

    subjects: tuple[Subject, ...]
    strays: tuple[str, ...]
    rules_changed: bool
    dirty: tuple[str, ...]


def is_rule(path: str) -> bool:
    """Can a change of this file change a verdict? All of verify/ and templates/ can, but notes: an extension
    module beside a `.py` file would be imported in its place.
    """
    return path.startswith(("verify/", "templates/")) and not path.endswith(".md")


def find_changes(repository: Repository, merge_base: str, base_tree: Mapping[str, bytes]) -> Changes:
    """Compare the files on disk with the merge base (`base_tree`: path -> bytes of the watched folders).

    Where rules changed, every candidate and every skeleton is a subject.
    """
    changed = repository.changed(merge_base, WATCHED)
    rules_changed = any(map(is_rule, changed))
    present = repository.on_disk("candidates")
    folders, strays = _folders([*present, *(path for path in base_tree if path.startswith("candidates/"))])
    touched = {folder for path in changed if (folder := _folder_of(path)) is not None}
    subjects = [
        _candidate(folder, present, base_tree, touched)
        for folder in sorted(folders)
        if rules_changed or folder in touched
    ]
    if rules_changed:
        subjects += _skeletons(repository, base_tree, changed)
    wanted = {path for path in strays if path in set(present) and (rules_changed or path in changed)}
    return Changes(
        subjects=tuple(subjects),
        strays=tuple(sorted(wanted)),
        rules_changed=rules_changed,
        dirty=tuple(repository.dirty(WATCHED)),
    )


def _folder_of(path: str) -> str | None:
    parts = PurePosixPath(path).parts
    return "/".join(parts[:3]) if len(parts) > 3 and parts[0] == "candidates" else None


def _folders(paths: Iterable[str]) -> tuple[set[str], set[str]]:
    """Candidate folders, and the paths under candidates/ that lie in none."""
    folders, strays = set(), set()
    for path in paths:
        folder = _folder_of(path)
        if folder is None:
            strays.add(path)
        else:
            folders.add(folder)
    return folders, strays


def _candidate(
    folder: str, present: Iterable[str], base_tree: Mapping[str, bytes], touched: set[str]
) -> Subject:
    files = tuple(path for path in present if path.startswith(f"{folder}/"))
    before = {path: data for path, data in base_tree.items() if path.startswith(f"{folder}/")}
    change = _change(is_here=bool(files), was_there=bool(before), is_touched=folder in touched)
    return Subject(kind="candidate", path=folder, change=change, files=files, before=before)


def _change(*, is_here: bool, was_there: bool, is_touched: bool) -> Change:
    if not is_here:
        return "removed"
    if not was_there:
        return "added"
    return "modified" if is_touched else "unchanged"


def _skeletons(
    repository: Repository, base_tree: Mapping[str, bytes], changed: Mapping[str, str]
) -> list[Subject]:
    present = {path for path in repository.on_disk("templates") if SKELETON.fullmatch(path)}
    known = {path for path in base_tree if SKELETON.fullmatch(path)}
    subjects = []
    for path in sorted(present | known):
        if path.endswith("/__init__.py"):
            continue
        change = _change(is_here=path in present, was_there=path in known, is_touched=path in changed)
        before = {path: base_tree[path]} if path in known else {}
        files = (path,) if path in present else ()
        subjects.append(Subject(kind="skeleton", path=path, change=change, files=files, before=before))
    return subjects
