"""What servers say where they decline: the shapes of error bodies, and what the backend makes of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from harness.agents.llm.openai_backend import OpenAIBackend
from harness.agents.llm.protocol import Completion, Message, Request
from harness.agents.llm.refusals import read_refusal
from harness.errors import HarnessError
from tests.harness.agents.llm.loopback import Reply, Server, fails, in_turn, says

pytest.importorskip("openai")

REQUEST = Request(model="m", messages=(Message(role="user", text="hello"),), max_tokens=50)
KEY = "sk-0123456789abcdef"
VLLM_PROMPT = (
    "This model's maximum context length is 8192 tokens. However, your request has 9911 input tokens. Please "
    "reduce the length of the input messages."
)
LLAMA_PROMPT = "the request exceeds the available context size. try increasing the context size"
VLLM_LIMIT = (
    "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is "
    "32768 tokens and your request has 9911 input tokens (32000 > 32768 - 9911)."
)
AZURE_FILTER = "The response was filtered due to the prompt triggering the content management policy."


def ask(server: Server) -> Completion:
    async def run() -> Completion:
        backend = OpenAIBackend("m", key=KEY, url=server.url, retries=1)
        try:
            return await backend.complete(REQUEST)
        finally:
            await backend.close()

    return asyncio.run(run())


def declines(status: int, body: Any) -> Reply:
    return Reply(status=status, body=json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "no", "code": "context_length_exceeded"}}),
        (400, {"error": {"message": VLLM_PROMPT, "type": "BadRequestError", "code": 400}}),
        (400, {"object": "error", "message": VLLM_PROMPT, "type": "BadRequestError", "code": 400}),
        (400, {"error": {"code": 400, "message": "no", "type": "exceed_context_size_error", "n_ctx": 8192}}),
        (400, {"error": {"code": 400, "message": LLAMA_PROMPT}}),
        (413, {"error": "input exceeds the context window of this model"}),
        (422, {"detail": [{"loc": ["body"], "msg": "Prompt exceeds the Context Length"}]}),
        (200, {"error": {"message": VLLM_PROMPT, "code": 400}}),
    ],
)
def test_a_prompt_that_is_too_long_is_the_fault_of_one_proposal_however_it_is_said(
    status: int, body: Any
) -> None:
    with Server(in_turn(declines(status, body))) as server:
        answer = ask(server)
    assert (answer.text, answer.finish, answer.usage) == ("", "malformed", None)
    assert answer.detail.startswith("the prompt is too long for the model: ")
    assert len(server.requests) == 1


def test_a_prompt_that_a_filter_declines_is_a_refusal_to_one_proposal() -> None:
    error = {
        "message": AZURE_FILTER,
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
    }
    with Server(in_turn(declines(400, {"error": error}))) as server:
        answer = ask(server)
    assert (answer.finish, len(server.requests)) == ("refusal", 1)
    assert AZURE_FILTER in answer.detail


@pytest.mark.parametrize(
    "message",
    [
        VLLM_LIMIT,
        "max_tokens is too large: 32000. This model supports at most 16384 completion tokens.",
        "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens",
        "`max_completion_tokens` must be less than or equal to `8192`",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
    ],
)
def test_a_limit_that_no_answer_can_have_stops_the_run_and_names_the_option(message: str) -> None:
    reply = declines(400, {"error": {"message": message, "code": 400}})
    with Server(in_turn(reply)) as server, pytest.raises(HarnessError, match="a smaller --max-tokens"):
        ask(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": {"message": "no key for a model with this context window"}}),
        (429, {"error": {"message": "context size of all requests of this minute"}}),
        (400, {"error": {"message": "the window is closed"}}),
        (400, {"error": {"message": "no such argument: max_tokens"}}),
        (400, ["x", 1, None]),
        (400, "[" * 100_000),
    ],
)
def test_other_refusals_are_nobodys_but_the_runs(status: int, body: Any) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    assert read_refusal(status, text).trouble == "other"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "Unrecognized request argument supplied: max_completion_tokens"}}),
        (400, {"detail": "Unknown parameter: max_completion_tokens"}),
        (400, {"object": "error", "message": "[{'loc': ('body', 'max_completion_tokens'), 'input': 50}]"}),
        (
            422,
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "input": 5}]},
        ),
        (422, {"message": {"detail": [{"loc": ["body", "max_completion_tokens"], "msg": "Extra inputs"}]}}),
    ],
)
def test_a_server_of_the_older_name_for_the_limit_may_say_so_in_any_shape(status: int, body: Any) -> None:
    def answer(request: dict[str, Any]) -> Reply:
        return declines(status, body) if "max_completion_tokens" in request else says("fine")

    with Server(answer) as server:
        assert ask(server).text == "fine"
    assert [request.get("max_tokens") for request in server.requests] == [None, 50]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "no such model"}}', "NotFoundError: no such model"),
        (b'{"message": {"detail": [{"loc": ["body", "n"], "msg": "odd"}]}}', "NotFoundError: body.n: odd"),
        (b'{"reason": "under repair"}', 'NotFoundError: {"reason": "under repair"}'),
        (b'{"error": {"message": ""}, "more": 1}', 'NotFoundError: {"error": {"message": ""}, "more": 1}'),
        (b"<html>\n\x1b[31mnot here</html>", "NotFoundError: <html> [31mnot here</html>"),
        (b"", "NotFoundError: nothing said"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words_wherever_they_stand(body: bytes, said: str) -> None:
    with Server(in_turn(Reply(status=404, body=body))) as server, pytest.raises(HarnessError) as caught:
        ask(server)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_what_a_server_says_reaches_the_terminal_as_one_printable_line_of_some_length() -> None:
    said = "\x1b[31mred\x1b]0;title\x07 \ud800\u202e\n" + "x" * 5000
    with Server(in_turn(fails(403, said))) as server, pytest.raises(HarnessError) as caught:
        ask(server)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("status", [200, 400, 401])
def test_a_key_that_a_server_sends_back_is_hidden(status: int) -> None:
    reply = fails(status, f"bad key Bearer {KEY}")
    with Server(in_turn(reply)) as server, pytest.raises(HarnessError, match=r"Bearer \*\*\*") as caught:
        ask(server)
    assert KEY not in str(caught.value)


def test_a_key_in_the_answer_of_one_proposal_is_hidden() -> None:
    with Server(in_turn(says(None, refusal=f"{KEY} has to pay"))) as server:
        assert ask(server).detail == "*** has to pay"


def test_a_key_that_is_any_word_leaves_other_words_whole() -> None:
    async def run(url: str) -> None:
        await OpenAIBackend("m", key="e", url=url).complete(REQUEST)

    with (
        Server(in_turn(fails(403, "never for e"))) as server,
        pytest.raises(HarnessError, match=r"never for \*\*\*"),
    ):
        asyncio.run(run(server.url))
