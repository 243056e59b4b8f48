"""The program's children: the model's server and the runs that ask it. None outlives the program."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from harness.children import die_with
from harness.errors import HarnessError

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

_READY = 900.0
"""Seconds that a server has to load its model."""

_PATIENCE = 10.0
"""Seconds that a server has to end by itself."""


@contextlib.contextmanager
def child(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: IO[bytes] | int | None
) -> Iterator[subprocess.Popen[bytes]]:
    """`python *arguments` for as long as the block lasts, and no longer than this process."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        preexec_fn=functools.partial(die_with, os.getpid()),  # noqa: PLW1509  there are no threads here
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def finished(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """The exit code of `python *arguments`. Results and progress both go to stderr: stdout is the table's."""
    with child(arguments, cwd=ROOT, env=env, output=2) as process:
        return process.wait()


@contextlib.contextmanager
def served(checkpoint: Path, log: Path) -> Iterator[str]:
    """The base URL of a server of the checkpoint on loopback, which answers and knows it by its folder's
    name.

    Raises HarnessError where it ends, or is silent for too long, before it is ready.
    """
    port = _free_port()
    # The folder's name, not its path, is what the model is called in requests and records.
    serve = ("-m", "transformers.cli.transformers", "serve", checkpoint.name)
    options = ("--host", HOST, "--port", str(port), "--device", "cpu", "--default-seed", "0")
    with (
        log.open("wb") as output,
        child([*serve, *options], cwd=checkpoint.parent, env=OFFLINE, output=output) as process,
    ):
        _wait_until_ready(process, f"http://{HOST}:{port}/health", log)
        yield f"http://{HOST}:{port}/v1"


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback, whatever the proxy
    end = time.monotonic() + _READY
    while time.monotonic() < end:
        if process.poll() is not None:
            raise HarnessError(
                f"expected a server, got one that ended with {process.returncode}: {_tail(log)}. "
                "Install transformers[serving] and name a checkpoint that transformers can load."
            )
        with contextlib.suppress(OSError), opener.open(url, timeout=5.0) as response:
            if response.status == 200:
                return
        time.sleep(0.5)
    raise HarnessError(f"expected a server to be ready within {_READY:.0f} s, got none: {_tail(log)}.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _tail(log: Path) -> str:
    return " ".join(log.read_text(encoding="utf-8", errors="replace").split())[-500:] or "it said nothing"
