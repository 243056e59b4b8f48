"""One name for each text, also for texts that no parser reads: an agent may hand in anything."""

from __future__ import annotations

import hashlib

from harness.agents.protocol import Proposal
from verify.source.identity import fingerprint
from verify.source.parse import parse


def identity(position: int, proposal: Proposal) -> str:
    """The fingerprint of a proposal's source; of text that cannot be read as a mechanism, its SHA-256; and
    of no text at all, a name of its own, since two of those are not the same mechanism.
    """
    if proposal.problem:
        return f"unusable-{position}"
    text = proposal.source.encode()
    if parse(text)[0] is not None:
        try:
            return fingerprint(proposal.source)
        except (KeyError, ValueError, TypeError, AttributeError):
            pass  # it parses, but is no module of plain functions; the judge will say so
    return hashlib.sha256(text).hexdigest()
