"""Loaded as a role by a server, so that it runs as on a machine without libseccomp."""

from tests.verify.sandbox import plain_role
from verify.sandbox import confine

open = plain_role.open

confine._seccomp = lambda: None
