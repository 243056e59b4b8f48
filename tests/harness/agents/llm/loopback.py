"""An OpenAI-compatible server on loopback that answers from a script, faults included."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


@dataclass(kw_only=True)
class Reply:
    """One response. `delay` in seconds before it; `drop` closes the connection after half of it; `dribble` in
    seconds between its bytes.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False
    dribble: float = 0.0


def says(text: Any, *, finish: str = "stop", usage: Any = USAGE, **message: Any) -> Reply:
    """A chat completion with this content."""
    body: dict[str, Any] = {
        "id": "1",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
    }
    if usage is not None:
        body["usage"] = usage
    return Reply(body=json.dumps(body).encode())


def fails(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    return Reply(status=status, body=body, headers={name.replace("_", "-"): v for name, v in headers.items()})


class Server:
    """Answers each request by `answer(request body)`; keeps all requests and counts those at once."""

    def __init__(self, answer: Callable[[dict[str, Any]], Reply]) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(length))
                with outer._lock:
                    outer.requests.append(body)
                    outer.paths.append(self.path)
                    outer.keys.append(self.headers["Authorization"])
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                try:
                    self._send(outer.answer(body))
                finally:
                    with outer._lock:
                        outer.at_once -= 1

            def do_GET(self) -> None:
                outer.paths.append(self.path)
                self._send(fails(404))

            def _send(self, reply: Reply) -> None:
                time.sleep(reply.delay)
                with contextlib.suppress(OSError):  # the client may have left
                    self.send_response(reply.status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(reply.body)))
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self._write(
                        reply.body[: len(reply.body) // 2] if reply.drop else reply.body, reply.dribble
                    )
                    if reply.drop:
                        self.wfile.flush()
                        self.close_connection = True
                        self.connection.shutdown(socket.SHUT_RDWR)

            def _write(self, body: bytes, pause: float) -> None:
                size = 1 if pause else len(body)
                for start in range(0, len(body), size or 1):
                    self.wfile.write(body[start : start + size])
                    time.sleep(pause)

            def log_message(self, *_: Any) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def in_turn(*replies: Reply) -> Callable[[dict[str, Any]], Reply]:
    """The replies one after another, the last one for ever."""
    left: Iterator[Reply] = iter(replies)
    last = replies[-1]
    lock = threading.Lock()

    def answer(_: dict[str, Any]) -> Reply:
        with lock:
            return next(left, last)

    return answer
