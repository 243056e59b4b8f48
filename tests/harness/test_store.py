from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.store import Store

ROOT = Path(__file__).resolve().parents[2]


def test_events_come_back_in_order_after_reopening(tmp_path: Path) -> None:
    with Store(tmp_path / "run.sqlite") as store:
        for number in range(5):
            assert store.append("counted", {"number": number}).seq == number + 1
    with Store(tmp_path / "run.sqlite") as store:
        assert [(event.seq, event.kind, event.body["number"]) for event in store.events()] == [
            (number + 1, "counted", number) for number in range(5)
        ]


def test_a_source_is_kept_once_and_found_by_its_hash(tmp_path: Path) -> None:
    with Store(tmp_path / "run.sqlite") as store:
        first = store.append_with_source("proposed", {"position": 0}, b"text")
        second = store.append_with_source("proposed", {"position": 1}, b"text")
        assert first.body["source"] == second.body["source"]
        assert store.source(first.body["source"]) == b"text"
    rows = sqlite3.connect(tmp_path / "run.sqlite").execute("SELECT count(*) FROM sources").fetchone()
    assert rows == (1,)


@pytest.mark.parametrize(
    "statement", ["UPDATE events SET kind = 'other'", "DELETE FROM events", "DELETE FROM sources"]
)
def test_nothing_recorded_can_be_changed_or_removed(tmp_path: Path, statement: str) -> None:
    with Store(tmp_path / "run.sqlite") as store:
        store.append_with_source("proposed", {}, b"text")
    with pytest.raises(sqlite3.IntegrityError, match="stay"):
        sqlite3.connect(tmp_path / "run.sqlite").execute(statement)


def test_an_event_survives_a_kill_right_after_it(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom harness.store import Store\n"
        "store = Store(Path(sys.argv[1]))\nstore.append_with_source('proposed', {'position': 0}, b'text')\n"
        "store.append('judged', {'position': 0})\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "run.sqlite"
    killed = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, check=False)
    assert killed.returncode == -9
    with Store(path) as store:
        assert [event.kind for event in store.events()] == ["proposed", "judged"]


def test_a_damaged_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with Store(path) as store:
        event = store.append_with_source("proposed", {}, b"text")
    raw = sqlite3.connect(path)
    raw.executescript("DROP TRIGGER sources_stay; UPDATE sources SET body = x'00';")
    raw.close()
    with Store(path) as store, pytest.raises(HarnessError, match="damaged"):
        store.source(event.body["source"])


def test_an_event_that_is_no_json_and_a_schema_that_is_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with Store(path) as store:
        store.append("proposed", {"round": 1})
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'{"round": 1}', b'{"round": 1!'))
    with Store(path) as store, pytest.raises(HarnessError, match="expected JSON as event 1, got"):
        list(store.events())
    path.write_bytes(whole.replace(b"CREATE TRIGGER events_stay", b"CREATE TRIGGER events_\xffstay"))
    with pytest.raises(HarnessError, match="expected a run file"):
        Store(path)
    with Store(path, read_only=True) as store, pytest.raises(HarnessError, match="file is damaged"):
        list(store.events())


def test_a_file_of_another_layout_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    Store(path).close()
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(HarnessError, match="layout 99"):
        Store(path)


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    path.write_bytes(b"plain text, and more than a header of it " * 40)
    with pytest.raises(HarnessError) as caught:
        Store(path)
    assert "\n" not in str(caught.value)


def test_numbers_that_json_has_not_are_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "run.sqlite") as store, pytest.raises(ValueError, match="JSON"):
        store.append("judged", {"error": float("nan")})


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    with Store(tmp_path / "run.sqlite") as store:
        store.append("started", {})
        pages = store._database.execute("PRAGMA page_count").fetchone()[0]
        store._database.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(HarnessError, match="make room"):
            store.append_with_source("proposed", {}, b"x" * 100_000)
        assert [event.kind for event in store.events()] == ["started"]
        store.append("judged", {})
        assert [event.kind for event in store.events()] == ["started", "judged"]


def test_a_run_is_read_without_a_trace_while_it_is_written_and_after(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with Store(path) as store:
        store.append("proposed", {"round": 1})
        with Store(path, read_only=True) as reader:
            assert [event.kind for event in reader.events()] == ["proposed"]
            with pytest.raises(HarnessError, match="readonly"):
                reader.append("proposed", {"round": 2})
    with Store(path, read_only=True) as reader:
        assert len(list(reader.events())) == 1
    with pytest.raises(HarnessError, match="expected a run file"):
        Store(tmp_path / "none.sqlite", read_only=True)
    assert not (tmp_path / "none.sqlite").exists()


def test_a_run_is_read_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run?#.sqlite"
    with Store(path) as store:
        store.append("proposed", {"round": 1})
    monkeypatch.setattr("os.access", lambda folder, mode: False)
    with Store(path, read_only=True) as reader:
        assert len(list(reader.events())) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_half_a_character_is_kept(tmp_path: Path) -> None:
    with Store(tmp_path / "run.sqlite") as store:
        store.append("proposed", {"title": "A \ud800 title"})
        (event,) = store.events()
    assert event.body == {"title": "A \ud800 title"}


def test_a_file_that_was_cut_short_is_damaged_and_not_in_the_wrong_place(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with Store(path) as store:
        store.append("proposed", {"text": "x" * 10_000})
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(HarnessError, match="file is damaged"), Store(path) as store:
        list(store.events())


def test_a_record_without_one_of_its_events_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with Store(path) as store:
        for number in range(3):
            store.append("proposed", {"round": number})
    raw = sqlite3.connect(path)
    raw.execute("DROP TRIGGER events_last")
    raw.execute("DELETE FROM events WHERE seq = 2")
    raw.commit()
    raw.close()
    with Store(path) as store, pytest.raises(HarnessError, match="expected JSON as event 2, got event 3"):
        list(store.events())
