"""What went wrong on our side: never a statement about a candidate."""

from __future__ import annotations


class InfrastructureError(Exception):
    """The judge or its machine cannot work; commands end with exit code 3. The message says what to do."""
