"""Results by what was asked, in one SQLite file that several processes may share."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.compose.proxies.request import ProxyRequest, ProxyResult
from harness.errors import HarnessError

LAYOUT = 1
"""Goes up when the table changes; an older file is refused by name."""
WAIT_SECONDS = 60.0
"""How long a process waits for another one's write."""


class ResultCache:
    """An open cache; a context manager. Entries are kept as they were written first."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises HarnessError where it is no cache or cannot be written to."""
        self.path = path
        with self._one_line_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=WAIT_SECONDS)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def get(self, request: ProxyRequest) -> ProxyResult | None:
        """What was answered, None where nothing was. Raises HarnessError for a damaged file or entry."""
        with self._one_line_errors():
            row = self._database.execute(
                "SELECT body FROM results WHERE key = ?", (request.key(),)
            ).fetchone()
            return None if row is None else ProxyResult.from_json(json.loads(row[0]))

    def put(self, request: ProxyRequest, result: ProxyResult) -> None:
        """Keep a result; the first one stays."""
        body = json.dumps(result.to_json(), sort_keys=True, allow_nan=False)
        with self._one_line_errors():
            self._database.execute(
                "INSERT OR IGNORE INTO results (key, body) VALUES (?, ?)", (request.key(), body)
            )

    def __len__(self) -> int:
        with self._one_line_errors():
            return int(self._database.execute("SELECT count(*) FROM results").fetchone()[0])

    def _prepare(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        version = int(self._database.execute("PRAGMA user_version").fetchone()[0])
        if version == 0:
            self._database.execute(
                "CREATE TABLE results (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID"
            )
            self._database.execute(f"PRAGMA user_version = {LAYOUT}")
        self._database.execute("COMMIT")
        if version not in (0, LAYOUT):
            raise HarnessError(
                f"{self.path}: expected a cache of layout {LAYOUT}, got {version}. Choose another file."
            )

    @contextlib.contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise HarnessError(
                f"{self.path}: expected a cache of results that can be read and written, got: {error}. Make "
                "room or permission, or choose another folder."
            ) from None
        except (sqlite3.Error, KeyError, TypeError, ValueError) as error:
            raise HarnessError(
                f"{self.path}: expected a cache of results, got a damaged one ({type(error).__name__}: "
                f"{error}). Move the file away: results are computed again."
            ) from None
