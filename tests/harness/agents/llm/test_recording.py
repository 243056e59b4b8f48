from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from harness.agents.llm.protocol import Completion, Message, Request, Usage
from harness.agents.llm.recording import Recorder, Replay, read_answers
from harness.errors import HarnessError, WrongUsage

ANSWER = Completion(text="façade\n\u2028", finish="stop", usage=Usage(read=3, written=4))


class Fixed:
    """A backend with one answer, which counts how often it was asked."""

    name = "fixed"
    model = "m"

    def __init__(self, answer: Completion = ANSWER) -> None:
        self.answer, self.asked = answer, 0

    async def complete(self, request: Request) -> Completion:
        self.asked += 1
        return replace(self.answer, text=self.answer.text + request.messages[-1].text)

    async def close(self) -> None:
        return None


def request(text: str, model: str = "m") -> Request:
    return Request(model=model, messages=(Message(role="user", text=text),), max_tokens=9)


def record(path: Path, *texts: str, backend: Fixed | None = None) -> list[Completion]:
    recorder = Recorder(backend or Fixed(), path)
    try:
        return [asyncio.run(recorder.complete(request(text))) for text in texts]
    finally:
        recorder.release()


def test_what_was_recorded_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "answers.jsonl"
    recorded = record(path, "a", "b")
    replay = Replay(path)
    assert replay.model == "m"
    assert [asyncio.run(replay.complete(request(text))) for text in ("a", "b")] == recorded


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    first, second = Fixed(), Fixed()
    record(tmp_path / "a", "a", "a", backend=first)
    before = (tmp_path / "a").read_bytes()
    assert record(tmp_path / "a", "a", backend=second) == [replace(ANSWER, text=ANSWER.text + "a")]
    assert (first.asked, second.asked) == (1, 0)
    assert (tmp_path / "a").read_bytes() == before


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_torn_last_line_is_lost_alone(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a"
    record(path, "a", "b")
    first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(first + b"\n" + second[:kept])
    assert set(read_answers(path)) == {request("a").key}
    record(path, "c")
    assert set(read_answers(path)) == {request("a").key, request("c").key}


@pytest.mark.parametrize(
    "content",
    [
        b"one line of notes",
        b"notes\nof two lines",
        b"notes\n",
        b"SQLite format 3\x00\x10\x00\x02\x02\n\x00@ \x00\x00",
        b'{"keys": "of somebody else',
        b"\xff\xfe",
    ],
)
def test_a_file_that_is_no_recording_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(HarnessError, match=r"notes\.txt.*choose another --answers"):
        Recorder(Fixed(), path)
    assert path.read_bytes() == content


def test_a_recording_that_ends_with_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a"
    record(path, "a")
    content = path.read_bytes() + b"a note at the end"
    path.write_bytes(content)
    with pytest.raises(HarnessError, match="a last line that is none"):
        Recorder(Fixed(), path)
    assert path.read_bytes() == content


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a"
    record(path, "a", "b")
    path.write_bytes(path.read_bytes().replace(b'"stop"', b'"perhaps"', 1))
    with pytest.raises(HarnessError, match="a:1: expected a recorded answer"):
        read_answers(path)


@pytest.mark.parametrize(
    ("field", "instead"),
    [
        ('"read": 3', '"read": Infinity'),
        ('"read": 3', '"read": NaN'),
        ('"read": 3', '"read": "3"'),
        ('"read": 3', '"read": ' + "9" * 5000),
        ('"read": 3', '"read": ' + "[" * 100_000),
        ('"model": "m"', r'"model": "\ud800"'),
        ('"model": "m"', r'"model": "\u001b[2J"'),
    ],
)
def test_a_line_that_no_answer_makes_is_named(tmp_path: Path, field: str, instead: str) -> None:
    path = tmp_path / "a"
    record(path, "a")
    text = path.read_text()
    assert field in text
    path.write_text(text.replace(field, instead))
    with pytest.raises(HarnessError, match="a:1: expected a recorded answer") as caught:
        read_answers(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("count", ["-1", "9007199254740993", "9" * 400, "true"])
def test_counts_that_make_no_sense_are_unknown(tmp_path: Path, count: str) -> None:
    path = tmp_path / "a"
    record(path, "a")
    path.write_text(path.read_text().replace('"read": 3', f'"read": {count}'))
    ((_, answer),) = read_answers(path).values()
    assert answer.usage is None


def test_what_was_wrong_with_an_answer_is_read_as_one_line_that_can_be_printed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    record(path, "a")
    path.write_text(path.read_text().replace('"detail": ""', r'"detail": "\u001b[2J\ud800\n\u202eno"'))
    ((_, answer),) = read_answers(path).values()
    assert answer.detail == "[2J? no"


def test_a_model_whose_name_cannot_be_recorded_is_wrong_usage(tmp_path: Path) -> None:
    record(tmp_path / "a", "a")
    with pytest.raises(WrongUsage, match="--model"):
        Replay(tmp_path / "a", "\udcff")


def test_two_runs_do_not_record_into_one_file(tmp_path: Path) -> None:
    recorder = Recorder(Fixed(), tmp_path / "a")
    with pytest.raises(HarnessError, match="another run is recording"):
        Recorder(Fixed(), tmp_path / "a")
    recorder.release()
    Recorder(Fixed(), tmp_path / "a").release()


def test_an_answer_after_the_release_goes_into_nobodys_file(tmp_path: Path) -> None:
    recorder = Recorder(Fixed(), tmp_path / "a")
    recorder.release()
    recorder.release()
    other = (tmp_path / "other").open("wb")  # has the number of the closed file
    with other, pytest.raises(HarnessError, match="got one after it"):
        asyncio.run(recorder.complete(request("a")))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "other").read_bytes() == b""


def test_a_request_that_was_not_recorded_stops_the_replay(tmp_path: Path) -> None:
    record(tmp_path / "a", "a")
    with pytest.raises(HarnessError, match="got none"):
        asyncio.run(Replay(tmp_path / "a").complete(request("b")))


def test_the_model_must_be_named_where_there_are_several(tmp_path: Path) -> None:
    path = tmp_path / "a"
    record(path, "a")
    text = path.read_text()
    path.write_text(text + text.replace(request("a").key, "0" * 64).replace('"m"', '"n"'))
    with pytest.raises(WrongUsage, match=r"\['m', 'n'\]"):
        Replay(path)
    assert Replay(path, "n").model == "n"


def test_the_digest_names_the_answers_and_not_their_order(tmp_path: Path) -> None:
    record(tmp_path / "a", "a", "b")
    record(tmp_path / "b", "b", "a")
    record(tmp_path / "c", "a")
    assert Replay(tmp_path / "a").digest == Replay(tmp_path / "b").digest != Replay(tmp_path / "c").digest


def test_no_file_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="recorded answers"):
        Replay(tmp_path / "missing")


def test_every_part_of_a_request_is_in_its_key() -> None:
    one = request("a")
    others = [
        request("b"),
        request("a", model="n"),
        replace(one, max_tokens=8),
        replace(one, messages=(Message(role="system", text="a"),)),
        one.followed_by(Message(role="assistant", text="b")),
    ]
    assert len({one.key, *(other.key for other in others)}) == 6
