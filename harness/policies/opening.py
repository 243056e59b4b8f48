"""A policy by its name."""

from __future__ import annotations

from harness.errors import WrongUsage
from harness.policies.at_random import AtRandom
from harness.policies.by_status import ByStatus
from harness.policies.evolutionary import Evolutionary
from harness.policies.greedy import Greedy
from harness.policies.one_shot import OneShot
from harness.policies.protocol import Policy

_POLICIES: dict[str, Policy] = {
    policy.name: policy for policy in (ByStatus(), OneShot(), AtRandom(), Greedy(), Evolutionary())
}
POLICIES = tuple(_POLICIES)
"""Names, the default first."""

DEFAULT = POLICIES[0]


def open_policy(name: str) -> Policy:
    """The policy of that name. Raises WrongUsage naming those there are."""
    if name not in _POLICIES:
        raise WrongUsage(f"--policy: expected one of {', '.join(POLICIES)}, got {name!r}.")
    return _POLICIES[name]
