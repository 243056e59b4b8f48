"""Attributes of other people's modules, replaced for a while and put back however it ends."""

from __future__ import annotations

from typing import Any

_MISSING = object()


class Patches:
    """Replacements of attributes; `undo` restores every one of them, the last first."""

    def __init__(self) -> None:
        self._saved: list[tuple[Any, str, object]] = []

    def set(self, owner: Any, name: str, value: object) -> None:
        """Replace `owner.name`, also where the owner did not define it itself."""
        self._saved.append((owner, name, vars(owner).get(name, _MISSING)))
        setattr(owner, name, value)

    def undo(self) -> None:
        while self._saved:
            owner, name, old = self._saved.pop()
            if old is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, old)
