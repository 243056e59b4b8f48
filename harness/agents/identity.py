"""One name for each text, also for texts that no parser reads: an agent may hand in anything."""

from __future__ import annotations

import hashlib

from harness.agents.protocol import Proposal
from verify.source.identity import fingerprint
from verify.source.parse import parse


def text_identity(source: str) -> str:
    """The fingerprint of a mechanism, or the SHA-256 (hex) of text that cannot be read as one."""
    text = source.encode()
    if parse(text)[0] is not None:
        try:
            return fingerprint(source)
        except (KeyError, ValueError, TypeError, AttributeError):
            pass  # it parses, but is no module of plain functions; the judge will say so
    return hashlib.sha256(text).hexdigest()


def identity(position: int, proposal: Proposal) -> str:
    """The identity of a proposal's source; of an answer without one, a name of its own, since two of those
    are not the same mechanism.
    """
    return f"unusable-{position}" if proposal.problem else text_identity(proposal.source)
