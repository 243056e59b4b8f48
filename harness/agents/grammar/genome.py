"""What a candidate is made of, apart from its text: skeleton, slot contents, and at most one edit of the
source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from harness.agents.grammar.slots import (
    Content,
    content_from_json,
    content_to_json,
    describe_content,
    label,
)

_DEFAULT_SCALE = "rsqrtk"
_LONGEST_SLUG = 56


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One changed body: `function` now reads `body`; `description` says what changed, e.g. `dropped * c`."""

    function: str
    description: str
    body: str


@dataclass(frozen=True, kw_only=True)
class Genome:
    """A candidate. `contents` maps slots to contents; the source is printed from them, then `edit` is
    applied.
    """

    skeleton: str
    contents: Mapping[str, Content]
    edit: Edit | None = None

    def descriptions(self) -> dict[str, str]:
        """Each slot's contents as a reader writes them, and the edit."""
        described = {slot: describe_content(content) for slot, content in sorted(self.contents.items())}
        if self.edit is not None:
            described["edit"] = f"{self.edit.function}: {self.edit.description}"
        return described

    def labels(self) -> dict[str, str]:
        return {slot: label(slot, content) for slot, content in sorted(self.contents.items())}

    def slug(self) -> str:
        """E.g. `token-decay-softplus-l2`: the skeleton, then what differs from the plainest contents."""
        labels = self.labels()
        plain = {"key_norm": "plain", "scale": _DEFAULT_SCALE, "window": "all"}
        parts = [
            self.skeleton.rsplit("/", 1)[-1],
            *(text for slot, text in labels.items() if text != plain.get(slot)),
        ]
        if self.edit is not None:
            parts.append("edited")
        words = "-".join(parts).lower().replace("_", "-")
        return words[:_LONGEST_SLUG].rstrip("-")

    def to_note(self) -> str:
        """The genome as one line of JSON with sorted keys."""
        edit = None if self.edit is None else [self.edit.function, self.edit.description, self.edit.body]
        contents = {slot: content_to_json(content) for slot, content in self.contents.items()}
        return json.dumps({"skeleton": self.skeleton, "contents": contents, "edit": edit}, sort_keys=True)


def from_note(note: str) -> Genome:
    """The genome that `to_note` wrote. Raises ValueError for anything else."""
    try:
        data = json.loads(note)
        edit = (
            None
            if data["edit"] is None
            else Edit(**dict(zip(("function", "description", "body"), data["edit"], strict=True)))
        )
        contents = {slot: content_from_json(slot, content) for slot, content in data["contents"].items()}
        return Genome(skeleton=data["skeleton"], contents=contents, edit=edit)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"expected a genome's note, got {note[:80]!r} ({error})") from error
