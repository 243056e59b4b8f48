"""The official client against a real server on loopback."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

import pytest

from harness.agents.llm.openai_backend import OpenAIBackend, from_environment
from harness.agents.llm.protocol import Completion, Message, Request, Usage
from harness.agents.llm.reading import MAX_TEXT
from harness.agents.llm.recording import Recorder
from harness.errors import HarnessError, WrongUsage
from tests.harness.agents.llm.loopback import Reply, Server, fails, in_turn, says

pytest.importorskip("openai")

REQUEST = Request(model="m", messages=(Message(role="user", text="hello"),), max_tokens=50)
SHORT = {"retry_after_ms": "1"}
"""What a server says so that the client's backoff does not slow the tests down."""


def ask(server: Server, *, requests: int = 1, **options: Any) -> list[Completion]:
    async def run() -> list[Completion]:
        backend = OpenAIBackend("m", key="secret", url=server.url, **options)
        try:
            return list(await asyncio.gather(*(backend.complete(REQUEST) for _ in range(requests))))
        finally:
            await backend.close()

    return asyncio.run(run())


def test_an_answer_comes_with_its_tokens_and_nothing_else_was_asked_of_the_server() -> None:
    with Server(in_turn(says("text"))) as server:
        assert ask(server) == [Completion(text="text", finish="stop", usage=Usage(read=100, written=20))]
    assert server.paths == ["/v1/chat/completions"]
    assert server.keys == ["Bearer secret"]
    assert server.requests == [
        {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_completion_tokens": 50}
    ]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_and_its_tokens_count_once(status: int) -> None:
    with Server(in_turn(fails(status, **SHORT), fails(status, **SHORT), says("at last"))) as server:
        (answer,) = ask(server)
    assert (answer.text, answer.usage) == ("at last", Usage(read=100, written=20))
    assert len(server.requests) == 3


def test_retry_after_is_honoured() -> None:
    with Server(in_turn(fails(429, Retry_After="1"), says("at last"))) as server:
        start = time.monotonic()
        assert ask(server)[0].text == "at last"
        assert time.monotonic() - start >= 1.0


def test_a_connection_that_breaks_in_the_middle_of_an_answer_is_tried_again() -> None:
    broken = says("half of this never arrives")
    broken.drop = True
    with Server(in_turn(broken, says("whole"))) as server:
        (answer,) = ask(server)
    assert (answer.text, answer.usage) == ("whole", Usage(read=100, written=20))
    assert len(server.requests) == 2


def test_an_answer_later_than_the_time_out_is_tried_again() -> None:
    late = says("late")
    late.delay = 1.0
    with Server(in_turn(late, says("in time"))) as server:
        assert ask(server, timeout=0.3)[0].text == "in time"


def test_a_server_that_stays_silent_stops_the_run_in_one_line() -> None:
    late = says("late")
    late.delay = 0.6
    with Server(in_turn(late)) as server, pytest.raises(HarnessError, match="APITimeoutError") as caught:
        ask(server, timeout=0.1, retries=0)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_server_that_is_never_silent_and_never_done_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.agents.llm.openai_backend._LONGEST_WAIT", 0.2)
    endless = says("x" * 1000)
    endless.dribble = 0.05
    with Server(in_turn(endless)) as server, pytest.raises(HarnessError, match="no whole answer"):
        ask(server, timeout=0.4, retries=0)


def test_a_server_that_stays_broken_stops_the_run_after_the_retries() -> None:
    with Server(in_turn(fails(500, **SHORT))) as server, pytest.raises(HarnessError, match="status 500"):
        ask(server, retries=2)
    assert len(server.requests) == 3


@pytest.mark.parametrize(("status", "reason"), [(401, "bad key"), (404, "no such model"), (400, "no")])
def test_what_no_retry_would_help_is_not_retried(status: int, reason: str) -> None:
    with (
        Server(in_turn(fails(status, reason))) as server,
        pytest.raises(HarnessError, match=reason) as caught,
    ):
        ask(server)
    assert len(server.requests) == 1
    assert "secret" not in str(caught.value)


def test_an_endpoint_that_does_not_exist_stops_the_run() -> None:
    with Server(in_turn(says(""))) as server:
        pass
    with pytest.raises(HarnessError, match="APIConnectionError"):
        ask(server, retries=0)


def test_a_prompt_that_is_too_long_is_the_fault_of_one_proposal() -> None:
    with Server(in_turn(fails(400, "too long", code="context_length_exceeded"))) as server:
        (answer,) = ask(server)
    assert (answer.finish, answer.usage) == ("malformed", None)
    assert "too long" in answer.detail


def test_a_server_of_the_older_name_for_the_limit_is_asked_by_that_name() -> None:
    def answer(body: dict[str, Any]) -> Reply:
        new = "max_completion_tokens" in body
        return fails(400, "Unsupported parameter: max_completion_tokens") if new else says("fine")

    with Server(answer) as server:
        assert [completion.text for completion in ask(server, requests=2, concurrency=1)] == ["fine"] * 2
    assert [body.get("max_tokens") for body in server.requests] == [None, 50, 50]


@pytest.mark.parametrize(
    ("reply", "finish", "detail"),
    [
        (Reply(body=b'{"choices": []}'), "malformed", "without choices"),
        (Reply(body=b'{"choices": null}'), "malformed", "without choices"),
        (Reply(body=b'{"choices": [], "error": null}'), "malformed", "without choices"),
        (Reply(body=b'{"choices": [{}]}'), "malformed", "without a message"),
        (says(None, refusal="I would rather not"), "refusal", "I would rather not"),
        (says("", finish="content_filter"), "refusal", "content filter"),
        (says("def forw", finish="length"), "length", "limit of tokens"),
        (says("x" * 2_000_000), "length", "2000000 characters"),
        (says(None), "stop", ""),
    ],
)
def test_whatever_comes_becomes_a_value_that_says_what_was_wrong(
    reply: Reply, finish: str, detail: str
) -> None:
    with Server(in_turn(reply)) as server:
        (answer,) = ask(server)
    assert len(server.requests) == 1
    assert answer.finish == finish
    assert detail in answer.detail
    assert len(answer.text) <= MAX_TEXT


NO_COMPLETIONS = [
    (b'{"choices": [{"message"', "not JSON"),
    (b"<html>\x1b[31mbusy</html>", r"not JSON: <html> \[31mbusy</html>"),
    (b"[" * 100_000, r"not JSON: \[\[\["),
    (b"", "a body of 0 bytes"),
    (b"[]", "a JSON list"),
    (b'{"error": {"message": "busy", "code": 429}}', "an error with the status of a success.*busy"),
    (b'{"error": "busy", "choices": []}', "an error with the status of a success.*busy"),
]


@pytest.mark.parametrize(("body", "said"), NO_COMPLETIONS)
def test_a_body_that_no_model_wrote_is_asked_for_again_and_then_stops_the_run(
    body: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.agents.llm.openai_backend._PAUSE", 0.01)
    with Server(in_turn(Reply(body=body))) as server:
        recorder = Recorder(OpenAIBackend("m", key="secret", url=server.url, retries=2), tmp_path / "a")
        with pytest.raises(HarnessError, match=said) as caught:
            asyncio.run(recorder.complete(REQUEST))
        recorder.release()
    assert caught.value.exit_code == 3
    assert "OPENAI_BASE_URL" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(server.requests) == 3
    assert (tmp_path / "a").read_bytes() == b""


def test_a_gateway_that_says_with_a_success_that_it_is_busy_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.agents.llm.openai_backend._PAUSE", 0.01)
    busy = Reply(body=NO_COMPLETIONS[-1][0])
    with Server(in_turn(busy, busy, says("at last"))) as server:
        assert [answer.text for answer in ask(server)] == ["at last"]


def test_a_number_of_more_digits_than_python_reads_spoils_no_answer() -> None:
    body = b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": %s}}' % (b"9" * 5000)
    with Server(in_turn(Reply(body=body))) as server:
        assert ask(server) == [Completion(text="x", finish="stop")]


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": "7"},
        [1, 2],
        {"prompt_tokens": 2**53 + 1, "completion_tokens": 2},
        {"prompt_tokens": 10**400, "completion_tokens": 2},
        {"prompt_tokens": True, "completion_tokens": True},
    ],
)
def test_without_a_usage_that_makes_sense_tokens_are_unknown_not_zero(usage: Any) -> None:
    with Server(in_turn(says("text", usage=usage))) as server:
        assert ask(server)[0].usage is None


def test_tokens_of_an_answer_without_choices_count() -> None:
    with Server(
        in_turn(Reply(body=b'{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 0}}'))
    ) as s:
        assert ask(s)[0].usage == Usage(read=7, written=0)


def test_content_in_parts_is_joined_and_what_utf8_cannot_carry_is_replaced() -> None:
    parts = [{"type": "text", "text": "one \ud800"}, {"type": "image"}, {"type": "text", "text": "two"}]
    with Server(in_turn(says(parts))) as server:
        assert ask(server)[0].text == "one ?two"


def test_no_more_requests_are_on_their_way_than_allowed() -> None:
    slow = says("text")
    slow.delay = 0.05
    with Server(in_turn(slow)) as server:
        assert len(ask(server, requests=8, concurrency=3)) == 8
        assert server.most_at_once == 3


def test_a_missing_key_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="OPENAI_API_KEY") as caught:
        from_environment("m", concurrency=1, environment={})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("key", ["sk-…", "kéy", "two\nlines", "a\x00b", "\udcff", " \n"])
def test_a_key_that_no_request_can_carry_is_wrong_usage_and_not_shown(key: str) -> None:
    with pytest.raises(WrongUsage, match="OPENAI_API_KEY") as caught:
        from_environment("m", concurrency=1, environment={"OPENAI_API_KEY": key})
    assert key.strip() in ("", "a") or key not in str(caught.value)


@pytest.mark.parametrize("model", ["", " ", "\udcff", "m\x1b[2J"])
def test_a_model_whose_name_cannot_be_sent_or_shown_is_wrong_usage(model: str) -> None:
    with pytest.raises(WrongUsage, match="--model"):
        from_environment(model, concurrency=1, environment={"OPENAI_API_KEY": "k"})


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ALL_PROXY": "nonsense://localhost:1"}, "ALL_PROXY"),
        ({"HTTPS_PROXY": "http://[::1"}, "HTTPS_PROXY"),
        ({"SSL_CERT_FILE": "/nonexistent"}, "SSL_CERT_FILE"),
    ],
)
def test_variables_that_keep_the_client_from_the_network_stop_the_run_in_one_line(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with Server(in_turn(says("text"))) as server, pytest.raises(HarnessError, match=said) as caught:
        ask(server, retries=0)
    gc.collect()
    assert caught.value.exit_code == 3
    assert str(caught.value).isprintable()
    assert [record.name for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/v1", "http://[::1", "ftp://localhost", "nonsense"])
def test_an_address_that_is_none_stops_the_run_in_one_line(url: str) -> None:
    backend = OpenAIBackend("m", key="secret", url=url, retries=0)
    with pytest.raises(HarnessError, match="check OPENAI_BASE_URL") as caught:
        asyncio.run(backend.complete(REQUEST))
    assert caught.value.exit_code == 3
    assert str(caught.value).isprintable()


def test_the_environment_names_key_and_endpoint() -> None:
    with Server(in_turn(says("text"))) as server:
        variables = {"OPENAI_API_KEY": "\n k\r\n", "OPENAI_BASE_URL": f"{server.url}\n"}
        backend = from_environment("m", concurrency=1, environment=variables)
        assert asyncio.run(backend.complete(REQUEST)).text == "text"
    assert server.keys == ["Bearer k"]
