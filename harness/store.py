"""The record of one run: append-only events, and sources and prompts by their content, in one SQLite file.

State is a replay of the events, so a run that was killed at any moment goes on from what had been appended.
The file is in WAL mode with full synchronisation: an appended event survives a power cut. Triggers refuse
changes and deletions.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.errors import HarnessError

LAYOUT = 2
"""Goes up when the tables change; an older file is refused by name, never migrated in silence."""

_SCHEMA = """
CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, body TEXT NOT NULL,
    clock REAL NOT NULL, cost TEXT NOT NULL) STRICT;
CREATE TABLE sources (hash TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events stay'); END;
CREATE TRIGGER events_last BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events stay'); END;
CREATE TRIGGER sources_stay BEFORE UPDATE ON sources BEGIN SELECT RAISE(ABORT, 'sources stay'); END;
CREATE TRIGGER sources_last BEFORE DELETE ON sources BEGIN SELECT RAISE(ABORT, 'sources stay'); END;
"""

_DAMAGED = "The file is damaged: move it away and run again."


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened. `seq` counts from 1 without gaps; `body` and `cost` are JSON.

    Two runs of the same settings have the same events, but for what a clock said: `clock` is the seconds of
    work since the event before (pauses between two processes left out), `cost` what it took or measured.
    """

    seq: int
    kind: str
    body: dict[str, Any]
    clock: float = field(default=0.0, compare=False)
    cost: dict[str, Any] = field(default_factory=dict, compare=False)


class Store:
    """An open run file. A context manager; one writer at a time (the run's lock sees to that)."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file; `read_only` opens one that is there, also where nothing can be written.

        Raises HarnessError if it is no run file, of another layout, or not writable.
        """
        self.path = path
        self._since = time.monotonic()
        try:
            if read_only:
                self._database = _for_reading(path)
                self._check_layout()
            else:
                self._database = sqlite3.connect(path, isolation_level=None)
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = FULL")
                self._prepare()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter from a damaged schema
            advice = _DAMAGED if _is_damage(error) else "Choose another folder with --runs."
            raise HarnessError(f"{path}: expected a run file, got {error}. {advice}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def begin(self, settings: dict[str, Any]) -> None:
        """Make the settings the first event of an empty record.

        Raises HarnessError where the record is of other settings: it is not this run, or what decides its
        results has changed since.
        """
        ours = json.loads(_json(settings))
        first = next(self.events(), None)
        if first is None:
            self.append("started", ours)
        elif first.kind != "started":
            raise HarnessError(
                f"{self.path}: expected settings as the first event, got {first.kind!r}. {_DAMAGED}"
            )
        elif first.body != ours:
            told = "; ".join(
                f"{name}: {_short(first.body.get(name))} then, {_short(ours.get(name))} now"
                for name in sorted({*ours, *first.body})
                if ours.get(name) != first.body.get(name)
            )
            raise HarnessError(
                f"{self.path}: expected the settings that it was begun with, got others ({told}). The same "
                "command begins one of its own under these, in another folder; this one can still be shown."
            )

    def append(self, kind: str, body: dict[str, Any], cost: dict[str, Any] | None = None) -> Event:
        """Write one event durably. Raises HarnessError where the disk is full or read-only."""
        text, spent = _json(body), _json(cost or {})
        now = time.monotonic()
        clock, self._since = round(now - self._since, 3), now
        with self._one_line_errors():
            cursor = self._database.execute(
                "INSERT INTO events (kind, body, clock, cost) VALUES (?, ?, ?, ?)", (kind, text, clock, spent)
            )
        return _event(int(cursor.lastrowid or 0), kind, text, clock, spent)

    def append_with_source(
        self, kind: str, body: dict[str, Any], source: bytes, texts: Iterable[bytes] = ()
    ) -> Event:
        """Write a source and the event that speaks of it (as `source`, its SHA-256) in one transaction, and
        with them other `texts` that the event names by their SHA-256.
        """
        digest = hashlib.sha256(source).hexdigest()
        contents = {digest: source, **{hashlib.sha256(text).hexdigest(): text for text in texts}}
        with self._one_line_errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany(
                    "INSERT OR IGNORE INTO sources (hash, body) VALUES (?, ?)", contents.items()
                )
                event = self.append(kind, {**body, "source": digest})
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        return event

    def events(self) -> Iterator[Event]:
        """Every event in order. Raises HarnessError for a damaged file."""
        with self._one_line_errors():
            rows = self._database.execute(
                "SELECT seq, kind, body, clock, cost FROM events ORDER BY seq"
            ).fetchall()
        for place, (seq, *fields) in enumerate(rows, start=1):
            try:
                yield _event(_expected(seq, place), *fields)
            except (ValueError, RecursionError) as error:
                raise HarnessError(
                    f"{self.path}: expected JSON as event {place}, got {error}. {_DAMAGED}"
                ) from None

    def source(self, digest: str) -> bytes:
        """The source of that SHA-256. Raises HarnessError if it is missing or its bytes have changed."""
        with self._one_line_errors():
            row = self._database.execute("SELECT body FROM sources WHERE hash = ?", (digest,)).fetchone()
        if row is None or hashlib.sha256(row[0]).hexdigest() != digest:
            raise HarnessError(
                f"{self.path}: expected the source {digest[:12]}, got none or other bytes. {_DAMAGED}"
            )
        return bytes(row[0])

    def _prepare(self) -> None:
        if self._version() == 0:
            self._database.executescript(
                f"BEGIN EXCLUSIVE;\n{_SCHEMA}\nPRAGMA user_version = {LAYOUT};\nCOMMIT;"
            )
        self._check_layout()

    def _version(self) -> int:
        return int(self._database.execute("PRAGMA user_version").fetchone()[0])

    def _check_layout(self) -> None:
        if (version := self._version()) != LAYOUT:
            raise HarnessError(
                f"{self.path}: expected a run file of layout {LAYOUT}, got layout {version}. "
                "Choose another folder with --runs."
            )

    def _one_line_errors(self) -> _OneLineErrors:
        return _OneLineErrors(self.path)


def _json(value: dict[str, Any]) -> str:
    """ASCII: a text may hold half a character, which no encoding takes."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _event(seq: int, kind: str, body: str, clock: float, cost: str) -> Event:
    """As it would be read: what is not JSON, such as a tuple, is so already in a run that goes on."""
    fields = json.loads(body), json.loads(cost)
    if not all(isinstance(one, dict) for one in fields):
        raise ValueError("JSON that is no object")
    return Event(seq=seq, kind=kind, body=fields[0], clock=clock, cost=fields[1])


def _expected(seq: int, place: int) -> int:
    """Raises ValueError where events before this one are gone."""
    if seq != place:
        raise ValueError(f"event {seq} in its place")
    return seq


def _for_reading(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing. In WAL mode SQLite wants to write beside the file even to read it;
    a file without a log beside it is whole by itself, and can be declared to stay as it is.
    """
    whole = not path.with_name(f"{path.name}-wal").exists()
    frozen = whole and not os.access(path.parent, os.W_OK)
    options = "mode=ro&immutable=1" if frozen else "mode=ro"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{options}", uri=True, isolation_level=None)


class _OneLineErrors:
    """Turns SQLite's errors into a HarnessError that says what to do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, UnicodeDecodeError) or _is_damage(error):
            raise HarnessError(f"{self._path}: cannot be read ({error}). {_DAMAGED}") from None
        if isinstance(error, sqlite3.Error):
            raise HarnessError(
                f"{self._path}: cannot read or write the run ({error}). What was finished is kept: "
                "make room or permission, then run the same command again."
            ) from None


def _is_damage(error: BaseException | None) -> bool:
    """Is it the bytes of the file that SQLite complains of, and not the disk or a lock?"""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
