"""What stops a command, as values the command line turns into one line and an exit code."""

from __future__ import annotations


class HarnessError(Exception):
    """The run cannot go on, and no candidate is to blame: expected, got, how to fix, in one line. Exit code
    3.
    """

    exit_code = 3


class WrongUsage(HarnessError):
    """The command line asks for something that does not exist. Exit code 2."""

    exit_code = 2


class NothingToDo(HarnessError):
    """The command has nothing to check. Exit code 5."""

    exit_code = 5
