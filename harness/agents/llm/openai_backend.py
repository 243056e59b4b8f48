"""Any OpenAI-compatible endpoint, through the official client: its retries, its backoff, its connection pool.

Only `POST /chat/completions` with plain text is used: no list of models, no structured output, no tools, no
streaming, so that small servers will do. The bodies are read by `reading`, not by the client's types, which
trust the server.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from harness.agents.llm.protocol import Completion, Request
from harness.agents.llm.reading import read_body
from harness.errors import HarnessError, WrongUsage

KEY, URL = "OPENAI_API_KEY", "OPENAI_BASE_URL"
_LONGEST_WAIT = 120.0
"""Seconds of Retry-After that the client honours."""


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
        """`timeout` in seconds, for one attempt. Raises WrongUsage where the client is not installed."""
        try:
            import openai  # noqa: PLC0415  an extra, and slow to import
        except ImportError:
            raise WrongUsage(
                "--agent openai: expected the package openai, got none. Install aira-harness[agents]."
            ) from None
        self.model = model
        self._openai = openai
        self._options: dict[str, Any] = {
            "api_key": key,
            "base_url": url,
            "timeout": timeout,
            "max_retries": retries,
        }
        # The client's time-out is for silence; a server that sends a byte now and then needs this one.
        self._deadline = (retries + 1) * (timeout + _LONGEST_WAIT)
        self._limit = concurrency
        self._limit_name = "max_completion_tokens"
        self._client: Any = None
        self._gate: asyncio.Semaphore | None = None

    async def complete(self, request: Request) -> Completion:
        """The answer. Raises HarnessError where the endpoint is out of reach or declines the request."""
        if self._client is None or self._gate is None:
            self._client = self._openai.AsyncOpenAI(**self._options)
            self._gate = asyncio.Semaphore(self._limit)
        async with self._gate:
            try:
                async with asyncio.timeout(self._deadline):
                    return read_body(await self._post(request))
            except TimeoutError:
                raise HarnessError(self._stopped(f"no whole answer in {self._deadline:.0f} s")) from None
            except self._openai.APIStatusError as error:
                return self._declined(error)
            except self._openai.OpenAIError as error:
                raise HarnessError(self._stopped(_sentence(error))) from None

    async def close(self) -> None:
        client, self._client, self._gate = self._client, None, None
        if client is not None:
            await client.close()

    async def _post(self, request: Request) -> bytes:
        """The body of the response. Older servers know the limit of tokens by another name."""
        try:
            return await self._post_once(request, self._limit_name)
        except self._openai.BadRequestError as error:
            if "max_completion_tokens" not in str(error):
                raise
            self._limit_name = "max_tokens"
            return await self._post_once(request, self._limit_name)

    async def _post_once(self, request: Request, limit_name: str) -> bytes:
        response = await self._client.chat.completions.with_raw_response.create(
            model=request.model,
            messages=[{"role": message.role, "content": message.text} for message in request.messages],
            **{limit_name: request.max_tokens},
        )
        return bytes(response.content)

    def _declined(self, error: Any) -> Completion:
        """A prompt too long for the model is one proposal's trouble; any other refusal stops the run."""
        if error.code == "context_length_exceeded":
            return Completion(text="", finish="malformed", detail="the prompt is too long for the model")
        raise HarnessError(self._stopped(f"status {error.status_code}, {_sentence(error)}")) from None

    def _stopped(self, what: str) -> str:
        return (
            f"{self.model}: expected an answer, got {what}. What was answered is kept: check {URL}, {KEY} "
            "and --model, then run the same command again."
        )


def from_environment(
    model: str, *, concurrency: int, environment: Mapping[str, str] | None = None
) -> OpenAIBackend:
    """The endpoint that OPENAI_API_KEY and OPENAI_BASE_URL name. Raises WrongUsage where there is no key."""
    key, url = key_and_url(environment)
    return OpenAIBackend(model, key=key, url=url, concurrency=concurrency)


def key_and_url(environment: Mapping[str, str] | None = None) -> tuple[str, str | None]:
    """OPENAI_API_KEY, and OPENAI_BASE_URL where it is set. Raises WrongUsage where there is no key."""
    variables = os.environ if environment is None else environment
    key = variables.get(KEY, "")
    if not key:
        raise WrongUsage(
            f"--agent openai: expected a key in {KEY}, got none. Set it (any text for a server that asks for "
            f"none, with {URL}), or use --agent grammar."
        )
    return key, variables.get(URL) or None


def _sentence(error: Exception) -> str:
    """An error in one line, with its cause, which is where the client keeps what the network said."""
    cause = f" ({type(error.__cause__).__name__})" if error.__cause__ is not None else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{cause}"
