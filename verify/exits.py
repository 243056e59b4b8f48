"""How a command of the judge ends: an exit code and one closing sentence."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import IO, Any, ParamSpec

import typer

from verify.errors import InfrastructureError

OK, REJECTED, USAGE, INFRASTRUCTURE, SKIPPED, NOTHING, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
READER_LEFT = 141
"""As a program ends that SIGPIPE ended: `verify check ... | head -1` says nothing of a mechanism."""

P = ParamSpec("P")


class Stop(Exception):
    """End the command with an exit code and one closing sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Every way in which a command ends becomes one sentence on stderr and a documented exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        code, sentence = OK, ""
        try:
            command(*args, **kwargs)
        except Stop as stop:
            code, sentence = stop.code, str(stop)
        except KeyboardInterrupt:
            code, sentence = INTERRUPTED, "interrupted; nothing that was finished is lost"
        except BrokenPipeError:
            discard(sys.stdout)
            code = READER_LEFT
        except OSError as error:
            code = INFRASTRUCTURE
            sentence = f"the machine said no: {error}. Check the path, its permissions and the free space."
        except typer.Exit:
            raise
        except InfrastructureError as error:
            code, sentence = INFRASTRUCTURE, f"the judge could not work: {error}"
        except Exception:  # noqa: BLE001  the last line of defence
            traceback.print_exc()
            code, sentence = INFRASTRUCTURE, "this is a bug of the judge, not a statement about the mechanism"
        if sentence:
            print(sentence, file=sys.stderr)
        raise typer.Exit(code)

    return run


def discard(stream: IO[str] | None) -> None:
    """Send what is still to come nowhere, so that Python's own flush at the end does not fail."""
    if stream is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def verdict_exit(verdict: Any, *, redrawn: bool = False) -> int:
    """0 admitted or clean at its depth, 1 rejected, 3 where the machine gave up, 4 a required stage
    skipped. A `redrawn` plan leaves out CMP and THR on purpose.
    """
    if verdict.admission == "rejected":
        return REJECTED
    if verdict.timed_out:
        return INFRASTRUCTURE
    if verdict.depth == "full" and verdict.admission != "admitted" and not redrawn:
        return SKIPPED
    return OK
