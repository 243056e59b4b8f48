"""The skeletons of a family, read through the judge's static half: their slots come from their SPEC."""

from __future__ import annotations

import difflib
import functools
import re
from pathlib import Path

from harness.agents.protocol import Skeleton
from harness.errors import HarnessError, WrongUsage
from verify.source.identity import fingerprint
from verify.source.lock import DEFAULT_TEMPLATES
from verify.source.static import check_static, read_released

ALL = "all"
"""What `--family` says for every family at once."""

FREE = "free"
"""The family without a lock."""

_VERSION = re.compile(r"v([1-9][0-9]*)")


def families(templates: Path = DEFAULT_TEMPLATES) -> tuple[str, ...]:
    """The families that have a released version, sorted. `free` is none: it has no slots to search."""
    if not templates.is_dir():
        return ()
    return tuple(
        sorted(
            folder.name
            for folder in templates.iterdir()
            if folder.is_dir() and folder.name != FREE and _versions(folder)
        )
    )


def load_skeletons(
    family: str, templates: Path = DEFAULT_TEMPLATES, *, free: bool = False
) -> tuple[Skeleton, ...]:
    """Every skeleton of the newest version of a family (`ALL`: of each family), sorted by name.

    `free` counts that family among them; its files are examples without slots, of use to an agent that
    writes whole files. Raises WrongUsage for an unknown family, HarnessError where a skeleton does not pass
    the static stages.
    """
    known = families(templates) + ((FREE,) if free and (templates / FREE).is_dir() else ())
    if family == ALL:
        return tuple(s for name in known for s in load_skeletons(name, templates, free=free))
    if family not in known:
        nearest = difflib.get_close_matches(family, (*known, ALL), n=1, cutoff=0.0)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise WrongUsage(f"--family: expected one of {[*known, ALL]}, got {family!r}.{hint}")
    newest = max(_versions(templates / family))
    files = sorted((templates / family / f"v{newest}").glob("[a-z]*.py"))
    return tuple(
        _checked(path.read_bytes(), path, f"{family}/v{newest}/{path.stem}", templates) for path in files
    )


def _versions(folder: Path) -> list[int]:
    matches = (_VERSION.fullmatch(child.name) for child in folder.iterdir() if child.is_dir())
    return [int(match.group(1)) for match in matches if match]


@functools.lru_cache(maxsize=64)  # a comparison of policies opens the same skeletons for every run
def _checked(source: bytes, path: Path, name: str, templates: Path) -> Skeleton:
    """One skeleton. Ours were judged when they were released, so they are read only; others are judged."""
    mechanism = read_released(source) if templates == DEFAULT_TEMPLATES else None
    if mechanism is None:
        result = check_static(source, path=str(path), templates=templates)
        mechanism = result.mechanism
        if mechanism is None:
            first = result.findings[0].render(str(path)) if result.findings else "no finding"
            raise HarnessError(f"{name}: expected a skeleton that passes the static stages, got {first}")
    text = source.decode()
    return Skeleton(name=name, source=text, fingerprint=fingerprint(text), slots=mechanism.spec.slots)
