"""Answers on disk: recorded as they come, so that a run that was killed pays for none of them twice, and
replayed without a network.

One line of JSON per answer, `{"key", "model", "answer"}`; lines are only ever appended, each whole and
synced.
A torn last line, all that a kill can leave, is cut off when the file is opened for recording and passed
over when it is read. A file that is no recording is refused, and left as it is.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import threading
from pathlib import Path

from harness.agents.llm.protocol import Backend, Completion, Request, check_model
from harness.errors import HarnessError, WrongUsage

_BEGINNING = b'{"key": "'
"""What `Recorder` begins every line with."""


class Recorder:
    """A backend whose answers go to a file, and which asks for nothing that the file answers already.

    The file is this process's own until `release`. Raises HarnessError where it cannot be had.
    """

    def __init__(self, backend: Backend, path: Path) -> None:
        self.name, self.model = backend.name, backend.model
        self._backend = backend
        self._path = path
        self._file: int | None = _open_locked(path)
        self._lock = threading.Lock()
        try:
            self._answers = read_answers(path)
            _cut_torn_line(self._file, path)
        except BaseException:
            self.release()
            raise

    async def complete(self, request: Request) -> Completion:
        known = self._answers.get(request.key)
        if known is not None:
            return known[1]
        answer = await self._backend.complete(request)
        self._append(request, answer)
        return answer

    async def close(self) -> None:
        await self._backend.close()

    def release(self) -> None:
        """Close the file; another run may have it then. An answer that comes later is not recorded."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                os.close(file)

    def _append(self, request: Request, answer: Completion) -> None:
        line = json.dumps({"key": request.key, "model": request.model, "answer": answer.to_json()})
        data = f"{line}\n".encode()
        try:
            with self._lock:  # a number of a closed file may be another file's by now
                if self._file is None:
                    raise HarnessError(
                        f"{self._path}: expected an answer while the run lasts, got one after it. Run the "
                        "same command again."
                    )
                _write_whole(self._file, data)
        except OSError as error:
            raise HarnessError(
                f"{self._path}: cannot be written ({error.strerror}). Make room, then run the same "
                "command again."
            ) from None
        self._answers[request.key] = (request.model, answer)


class Replay:
    """A backend that knows recorded answers only."""

    name = "replay"

    def __init__(self, path: Path, model: str | None = None) -> None:
        """The model is the file's, which must be named where the file holds answers of several.

        Raises WrongUsage or HarnessError where there is no such file or model, or a line is damaged.
        """
        if not path.is_file():
            raise WrongUsage(f"--answers: expected a file of recorded answers, got {path}")
        if model is not None:
            check_model(model)
        self._path = path
        self._answers = read_answers(path)
        models = sorted({of for of, _ in self._answers.values()})
        if model is None and len(models) != 1:
            raise WrongUsage(f"{path}: expected answers of one model, got {models}. Choose one with --model.")
        self.model = models[0] if model is None else model

    @property
    def digest(self) -> str:
        """Eight characters that name what the file answers, whatever the order of its lines."""
        lines = sorted(json.dumps([key, of, answer.to_json()]) for key, (of, answer) in self._answers.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]

    async def complete(self, request: Request) -> Completion:
        found = self._answers.get(request.key)
        if found is None:
            raise HarnessError(
                f"{self._path}: expected an answer to request {request.key[:12]} of {self.model}, got none. "
                "It was recorded by another command, version or judge: repeat that one, or record anew with "
                "--agent openai."
            )
        return found[1]

    async def close(self) -> None:
        return None


def read_answers(path: Path) -> dict[str, tuple[str, Completion]]:
    """Request key -> (model, answer); the first of several to one request counts.

    Raises HarnessError naming the line that is damaged.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror})") from None
    answers: dict[str, tuple[str, Completion]] = {}
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is torn, or nothing
        try:
            fields = json.loads(line)
            model = str(fields["model"])
            check_model(model)
            answers.setdefault(str(fields["key"]), (model, Completion.from_json(fields["answer"])))
        except (ValueError, KeyError, TypeError, RecursionError, WrongUsage) as error:
            raise HarnessError(
                f"{path}:{number}: expected a recorded answer, got a line that is none "
                f"({type(error).__name__}). Remove the line to ask again, or choose another --answers."
            ) from None
    return answers


def _open_locked(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be opened ({error.strerror}). Choose another --answers."
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with contextlib.suppress(OSError):
            os.close(file)
        raise HarnessError(
            f"{path}: another run is recording there. Wait until that one ends, or choose another --answers."
        ) from None
    return file


def _write_whole(file: int, data: bytes) -> None:
    """Append in one call, as no other line may come in between, and sync. Raises OSError."""
    if os.write(file, data) != len(data):
        raise OSError(errno.ENOSPC, "the disk took part of a line")
    os.fsync(file)


def _cut_torn_line(file: int, path: Path) -> None:
    """Cut off what follows the last newline, in a file whose whole lines are answers.

    Raises HarnessError where that is not the beginning of an answer: the file is somebody else's then.
    """
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    torn = content[whole:]
    if not torn:
        return
    if torn[: len(_BEGINNING)] != _BEGINNING[: len(torn)]:
        raise HarnessError(
            f"{path}: expected recorded answers, got a last line that is none. The file was left as it is: "
            "choose another --answers."
        )
    os.ftruncate(file, whole)
    os.fsync(file)
