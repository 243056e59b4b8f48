"""Any OpenAI-compatible endpoint, through the official client: its retries, its backoff, its connection pool.

Only `POST /chat/completions` with plain text is used: no list of models, no structured output, no tools, no
streaming, so that small servers will do. The bodies are read by `reading` and `refusals`, not by the client's
types, which trust the server. Whatever goes wrong is said in one printable line without the key.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from harness.agents.llm.protocol import Completion, Request, check_model, short
from harness.agents.llm.reading import NoCompletion, read_body
from harness.agents.llm.refusals import Refusal, read_refusal
from harness.errors import HarnessError, WrongUsage

KEY, URL = "OPENAI_API_KEY", "OPENAI_BASE_URL"
_LONGEST_WAIT = 120.0
"""Seconds of Retry-After that the client honours."""
_PAUSE = 1.0
"""Seconds before a body that is no completion is asked for again; twice as many each time."""
_LIMIT, _OLDER_LIMIT = "max_completion_tokens", "max_tokens"
_SECRET = 8
"""A shorter key is any word, for a server that asks for none: it is hidden where it stands alone."""

_AGAIN = "then run the same command again."
_CHECK = f"What was answered is kept: check {URL}, {KEY} and --model, {_AGAIN}"
_CHECK_URL = (
    f"What was answered is kept: check that {URL} is the address of an API and not of a page (most end in "
    f"/v1), {_AGAIN}"
)
_CHECK_NETWORK = (
    f"What was answered is kept: check {URL}, and the variables for proxies (HTTPS_PROXY, HTTP_PROXY, "
    f"ALL_PROXY) and certificates (SSL_CERT_FILE, SSL_CERT_DIR), {_AGAIN}"
)
_CHECK_LIMIT = (
    "No answer may have so many tokens there: name a smaller --max-tokens, which begins another run."
)


class OpenAIBackend:
    """One model behind one endpoint; at most `concurrency` requests are on their way at a time."""

    name = "openai"

    def __init__(
        self,
        model: str,
        *,
        key: str,
        url: str | None = None,
        concurrency: int = 8,
        timeout: float = 600.0,
        retries: int = 4,
    ) -> None:
        """`timeout` in seconds, for one attempt. Raises WrongUsage where the client is not installed, or the
        model's name cannot be one.
        """
        try:
            import openai  # noqa: PLC0415  an extra, and slow to import
        except ImportError:
            raise WrongUsage(
                "--agent openai: expected the package openai, got none. Install aira-harness[agents]."
            ) from None
        check_model(model)
        self.model = model
        self._openai = openai
        self._options: dict[str, Any] = {
            "api_key": key,
            "base_url": url,
            "timeout": timeout,
            "max_retries": retries,
        }
        self._key = _finder(key)
        self._retries = retries
        # The client's time-out is for silence; a server that sends a byte now and then needs this one.
        self._deadline = (retries + 1) * (timeout + _LONGEST_WAIT)
        self._limit = concurrency
        self._limit_name = _LIMIT
        self._client: Any = None
        self._gate: asyncio.Semaphore | None = None

    async def complete(self, request: Request) -> Completion:
        """The answer. Raises HarnessError where the endpoint is out of reach or declines the request."""
        if self._client is None or self._gate is None:
            self._client, self._gate = self._open(), asyncio.Semaphore(self._limit)
        async with self._gate:
            try:
                async with asyncio.timeout(self._deadline):
                    answer = await self._ask(request)
            except TimeoutError:
                raise HarnessError(self._stopped(f"no whole answer in {self._deadline:.0f} s")) from None
            except self._openai.APIStatusError as error:
                answer = self._declined(error)
            except HarnessError:
                raise
            except Exception as error:  # noqa: BLE001  what the client's parts raise, it does not always wrap
                raise HarnessError(self._stopped(self._sentence(error), _CHECK_NETWORK)) from None
        return replace(answer, detail=self._key.sub("***", answer.detail))

    async def close(self) -> None:
        client, self._client, self._gate = self._client, None, None
        if client is not None:
            await client.close()

    def _open(self) -> Any:
        """The client, which reads the variables for proxies and certificates.

        It is made where no loop runs: what is left of one that cannot be made would close itself on the loop,
        and print that it cannot.
        """
        with ThreadPoolExecutor(max_workers=1) as thread:
            client, problem = thread.submit(self._make_client).result()
        if problem:
            raise HarnessError(self._stopped(problem, _CHECK_NETWORK))
        return client

    def _make_client(self) -> tuple[Any, str]:
        """The client, or what keeps it from being made: whatever a variable of the environment leads to."""
        try:
            return self._openai.AsyncOpenAI(**self._options), ""
        except Exception as error:  # noqa: BLE001  ImportError, ValueError, OSError and others
            return None, self._sentence(error)

    async def _ask(self, request: Request) -> Completion:
        """The answer. What is none is asked for again, as gateways say so that they are busy."""
        came = NoCompletion("nothing")
        content = b""
        for attempt in range(self._retries + 1):
            if attempt:
                await asyncio.sleep(_PAUSE * 2 ** (attempt - 1))
            content = await self._post(request)
            try:
                return read_body(content)
            except NoCompletion as error:
                came = error
            refusal = read_refusal(200, content.decode("utf-8", "replace"))
            answer = self._one_proposals(refusal)
            if answer is not None:
                return answer
        beginning = self._clean(content.decode("utf-8", "replace"))
        raise HarnessError(self._stopped(f"{came}: {beginning}", _CHECK_URL))

    async def _post(self, request: Request) -> bytes:
        """The body of the response. Older servers know the limit of tokens by another name."""
        name = self._limit_name
        try:
            return await self._post_once(request, name)
        except self._openai.APIStatusError as error:
            text = error.response.text
            knows = error.status_code not in (400, 422) or _LIMIT not in text
            if knows or name != _LIMIT or read_refusal(error.status_code, text).trouble != "other":
                raise
        self._limit_name = _OLDER_LIMIT
        return await self._post_once(request, _OLDER_LIMIT)

    async def _post_once(self, request: Request, limit_name: str) -> bytes:
        response = await self._client.chat.completions.with_raw_response.create(
            model=request.model,
            messages=[{"role": message.role, "content": message.text} for message in request.messages],
            **{limit_name: request.max_tokens},
        )
        return bytes(response.content)

    def _declined(self, error: Any) -> Completion:
        """What is one proposal's trouble is its answer; any other refusal stops the run."""
        refusal = read_refusal(error.status_code, error.response.text)
        answer = self._one_proposals(refusal)
        if answer is not None:
            return answer
        said = self._clean(refusal.said) or "nothing said"
        raise HarnessError(
            self._stopped(f"status {error.status_code}, {type(error).__name__}: {said}")
        ) from None

    def _one_proposals(self, refusal: Refusal) -> Completion | None:
        """A refusal as the answer to one proposal, None where it is about more than that.

        Raises HarnessError where no proposal could be had with this limit of tokens.
        """
        said = self._clean(refusal.said)
        if refusal.trouble == "prompt":
            return Completion(
                text="", finish="malformed", detail=f"the prompt is too long for the model: {said}"
            )
        if refusal.trouble == "filter":
            return Completion(text="", finish="refusal", detail=f"the server's content filter: {said}")
        if refusal.trouble == "limit":
            raise HarnessError(self._stopped(f"a refusal: {said}", _CHECK_LIMIT))
        return None

    def _stopped(self, what: str, advice: str = _CHECK) -> str:
        return f"{self.model}: expected an answer, got {what.rstrip('.')}. {advice}"

    def _sentence(self, error: BaseException) -> str:
        """An error in one line, with its cause, which is where the client keeps what the network said."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        cause = error.__cause__
        because = "" if cause is None else f" ({type(cause).__name__}: {self._clean(str(cause))})"
        return f"{type(error).__name__}: {self._clean(str(error))}{because}"

    def _clean(self, text: str) -> str:
        return short(self._key.sub("***", text), 300)


def from_environment(
    model: str, *, concurrency: int, environment: Mapping[str, str] | None = None
) -> OpenAIBackend:
    """The endpoint that OPENAI_API_KEY and OPENAI_BASE_URL name. Raises WrongUsage where there is no key."""
    key, url = key_and_url(environment)
    return OpenAIBackend(model, key=key, url=url, concurrency=concurrency)


def key_and_url(environment: Mapping[str, str] | None = None) -> tuple[str, str | None]:
    """OPENAI_API_KEY, and OPENAI_BASE_URL where it is set, without white space around them.

    Raises WrongUsage where there is no key, or one that no request can carry.
    """
    variables = os.environ if environment is None else environment
    key = variables.get(KEY, "").strip()
    if not key:
        raise WrongUsage(
            f"--agent openai: expected a key in {KEY}, got none. Set it (any text for a server that asks for "
            f"none, with {URL}), or use --agent grammar."
        )
    if not key.isascii() or not key.isprintable():
        raise WrongUsage(
            f"--agent openai: expected a key of ASCII letters on one line in {KEY}, got other characters "
            "among them. Copy it again."
        )
    return key, variables.get(URL, "").strip() or None


def _finder(key: str) -> re.Pattern[str]:
    """What finds a key in what a server says."""
    if not key:
        return re.compile(r"(?!)")
    whole = re.escape(key)
    return re.compile(whole if len(key) >= _SECRET else rf"(?<!\w){whole}(?!\w)")
