"""Loaded as a role by a server, so that it runs as on a kernel without Landlock."""

from tests.verify.sandbox import plain_role
from verify.sandbox import confine

open = plain_role.open

confine.landlock_abi = lambda: 0
