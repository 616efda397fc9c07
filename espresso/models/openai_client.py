"""A chat model over HTTP: vLLM, or any service with OpenAI's chat completions.

Pictures are sent as data URLs. The server constrains JSON and choices. The SDK retries with
back-off (408, 409, 429, 5xx, dropped connections); if a server still answers 429, all requests to
it pause.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, Unpack

import openai
from openai.types.chat import ChatCompletion

from espresso.errors import ModelError, ServerDownError
from espresso.models import openai_format
from espresso.models.chat import Completion, Conversation, GenerateConfig, GenerateOptions, TokenCount, parse_reply

log = logging.getLogger(__name__)

Result = TypeVar("Result")
_RETRIES = 3
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_TOP_LOGPROBS = 20
"""The maximum of OpenAI's API and vLLM's default limit."""
_TURN_TOKENS = 8
"""Upper estimate for the role and the separators of a message."""


@dataclass
class _Connection:
    """The client of one event loop, and what its requests have learnt about the server."""

    client: openai.AsyncOpenAI

    slots: asyncio.Semaphore
    """Limits the requests in flight."""

    down: bool = False
    """The last request failed after all retries: the next one is tried once."""

    resume_at: float = 0.0
    """Loop time before which nothing is sent, because the server answered 429."""

    pause: float = 0.0
    """Length of the last pause in seconds; each further pause is twice as long."""


class OpenAIModel:
    """A model behind an OpenAI-compatible server.

    It can be used from several threads: each event loop has its own connection.

    Args:
        model: name of the model on the server.
        base_url: address of the API, which usually ends in /v1.
        context_length: limit for prompt and reply together, in tokens.
        picture_tokens: most tokens that one picture takes.
        api_key: sent to the server; None if it needs none.
        adapters: name -> model name under which the server offers the base model with this adapter
            (vLLM's `--lora-modules`).
        timeout: seconds for one try.
        concurrency: requests in flight at once, for each event loop.
        start_command: the command that starts the server, for the error that it is down.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        context_length: int,
        picture_tokens: int,
        api_key: str | None = None,
        adapters: Mapping[str, str] | None = None,
        timeout: float = 120.0,
        concurrency: int = 16,
        start_command: str | None = None,
    ):
        self.name = model
        self.context_length = context_length
        self._base_url = base_url
        self._picture_tokens = picture_tokens
        self._api_key = api_key
        self._adapters = dict(adapters or {})
        self._timeout = timeout
        self._concurrency = concurrency
        self._start_command = start_command
        self._connections: dict[asyncio.AbstractEventLoop, _Connection] = {}
        self._closed = False
        self._lock = threading.Lock()
        self._has_structured_outputs = True
        self._has_prompt_logprobs: bool | None = None  # unknown until the first request for them

    async def chat(self, messages: Conversation, **options: Unpack[GenerateOptions]) -> Completion:
        """Reply to one conversation; see `ChatModel.chat`.

        Choices longer than one character are scored as whole replies by vLLM's `prompt_logprobs`,
        one request each, exactly as `TransformersModel` scores them. Single characters are
        constrained by vLLM's `structured_outputs`. A server that rejects or ignores these fields
        (as OpenAI's own does) is asked for JSON with an enum from then on.

        For constrained choices, the probabilities come from the top log-probabilities of the
        tokens: exact if one token tells the choices apart, an upper bound for a choice that differs
        from the reply earlier, absent if the server reports none. `tokens_visual` is an upper
        estimate.
        """
        config = GenerateConfig(**options)
        if config.adapter is not None and config.adapter not in self._adapters:
            known = ", ".join(self._adapters) or "none"
            raise ModelError(f"{self.name}: unknown adapter {config.adapter!r} (known: {known}). Name it in the profile.")
        request: dict[str, Any] = {
            "model": self._adapters[config.adapter] if config.adapter else self.name,
            "messages": await asyncio.to_thread(openai_format.encode_messages, messages),
            "max_completion_tokens": config.max_tokens,
            "temperature": config.temperature,
            "logprobs": True,
        }
        if config.seed is not None:
            request["seed"] = config.seed
        schema = config.schema
        if schema:
            request["response_format"] = openai_format.response_format(schema.__name__, schema.model_json_schema())
        if config.choices:
            completion = await self._score(request, config.choices) or await self._choose(request, config.choices)
        else:
            completion = openai_format.decode_completion(await self._send(request))
        visual = sum(message.pictures for message in messages) * self._picture_tokens
        parsed = parse_reply(schema, completion.text) if schema else None
        return replace(completion, parsed=parsed, tokens_visual=min(visual, completion.tokens_in))

    async def chat_many(self, conversations: Sequence[Conversation], **options: Unpack[GenerateOptions]) -> list[Completion]:
        """Reply to many conversations, in order, concurrently; see `ChatModel.chat_many`.

        The first failure cancels the requests that are left.
        """
        return await _gather([self.chat(messages, **options) for messages in conversations])

    def count_tokens(self, messages: Conversation) -> TokenCount:
        """Return an upper estimate that needs no tokenizer.

        Two ASCII letters are counted as a token (English has about four letters per token), every
        other character by its bytes.
        """
        visual = sum(message.pictures for message in messages) * self._picture_tokens
        texts = [part for message in messages for part in message.content if isinstance(part, str)]
        letters = sum(len(re.findall(r"[A-Za-z ]", text)) for text in texts)
        rest = sum(len(text.encode()) for text in texts) - letters
        return TokenCount(visual + math.ceil(letters / 2) + rest + _TURN_TOKENS * (len(messages) + 1), visual)

    async def disconnect(self) -> None:
        """Close the connections of the running event loop; the next request opens new ones."""
        with self._lock:
            connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection:
            await connection.client.close()

    def close(self) -> None:
        """Drop the connections of all event loops. A closed model cannot be used again."""
        with self._lock:
            self._closed = True
            self._connections.clear()

    async def _score(self, request: dict[str, Any], choices: Sequence[str]) -> Completion | None:
        """Compare the log-probabilities of each choice as a finished turn of the prompt.

        Returns None if all choices are single characters, or the server has no `prompt_logprobs`.
        """
        if self._has_prompt_logprobs is False or all(len(choice) == 1 for choice in choices):
            return None
        scoring = {"max_completion_tokens": 1, "extra_body": {"prompt_logprobs": 0, "add_generation_prompt": False}}

        async def score(choice: str) -> ChatCompletion:
            return await self._send(
                request | scoring | {"messages": [*request["messages"], openai_format.assistant_turn(choice)]}
            )

        try:
            replies = await _gather([score(choice) for choice in choices])
        except _BadRequestError:
            if self._has_prompt_logprobs:  # the server supports the field, so it rejects this prompt
                raise
            replies = []
        prompts = [openai_format.prompt_logprobs(reply) for reply in replies]
        self._has_prompt_logprobs = bool(prompts) and all(prompts)
        if not self._has_prompt_logprobs:
            log.info("%s: %s reports no prompt_logprobs; choices are constrained instead", self._base_url, request["model"])
            return None
        return openai_format.score_choices(choices, prompts, replies)

    async def _choose(self, request: dict[str, Any], choices: Sequence[str]) -> Completion:
        """Let the server constrain the reply to one of the choices."""
        request |= {"top_logprobs": _TOP_LOGPROBS}
        if self._has_structured_outputs:
            try:
                reply = await self._send(request | {"extra_body": {"structured_outputs": {"choice": list(choices)}}})
            except _BadRequestError:
                pass
            else:
                completion = openai_format.decode_completion(reply)
                if completion.text in choices:
                    texts = {choice: choice for choice in choices}
                    return openai_format.add_choice_logprobs(completion, reply, texts, completion.text)
            log.info("%s: %s has no structured_outputs; trying JSON with an enum", self._base_url, request["model"])
        schema = openai_format.choice_schema(choices)
        reply = await self._send(request | {"response_format": openai_format.response_format("choice", schema)})
        self._has_structured_outputs = False
        completion = openai_format.decode_completion(reply)
        texts = openai_format.choice_replies(completion.text, choices)
        if texts:
            chosen = next(choice for choice, text in texts.items() if text == completion.text)
            return openai_format.add_choice_logprobs(completion, reply, texts, chosen)
        raise ModelError(
            f"{self._base_url}: {self.name} replied {completion.text[:60]!r} instead of one of {list(choices)}. "
            f"Use a server with structured outputs, such as vLLM."
        )

    async def _send(self, request: dict[str, Any]) -> ChatCompletion:
        """Send a request and turn every failure into a `ModelError` that says what to do."""
        connection = self._connection()
        model = request["model"]
        try:
            async with connection.slots:
                reply = await self._create(request, connection)
            connection.down, connection.pause = False, 0.0
        except openai.APITimeoutError as error:
            raise ModelError(
                f"{self._base_url}: no reply from {model} within {self._timeout:g} s, tried {_RETRIES + 1} times. "
                f"Ask for less, or raise `timeout` in the profile."
            ) from error
        except openai.APIConnectionError as error:
            connection.down = True
            log.info("%s: could not connect: %s", self._base_url, error)
            start = f"Start it with `{self._start_command}`." if self._start_command else "Check the address and the network."
            raise ServerDownError(f"{self._base_url}: could not connect to the server of {model}. {start}") from error
        except openai.NotFoundError as error:
            raise ModelError(f"{self._base_url}: no model is called {model!r} there ({await self._served()}).") from error
        except openai.AuthenticationError as error:
            raise ModelError(
                f"{self._base_url}: the server rejects the API key for {model}. Set the profile's `api_key_env`."
            ) from error
        except openai.BadRequestError as error:
            raise _BadRequestError(
                f"{self._base_url}: {model} rejects the request: {openai_format.error_message(error)}"
            ) from error
        except openai.APIStatusError as error:
            raise ModelError(
                f"{self._base_url}: {model} failed with status {error.status_code}: {openai_format.error_message(error)}"
            ) from error
        except ValueError as error:
            raise self._not_a_completion(str(error)) from error
        first = next(iter(getattr(reply, "choices", None) or ()), None)
        if not isinstance(reply, ChatCompletion) or getattr(first, "message", None) is None:
            raise self._not_a_completion(str(reply))
        return reply

    async def _create(self, request: dict[str, Any], connection: _Connection) -> ChatCompletion:
        """Send a request; pause all requests of this event loop if the SDK's retries end with 429.

        Gives up after the time that a hanging server gets. The SDK follows the server's
        Retry-After; an exhausted quota is not retried.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (0 if connection.down else self._timeout * (_RETRIES + 1))
        while True:
            while (wait := connection.resume_at - loop.time()) > 0:
                await asyncio.sleep(wait * (1 + random.random() / 2))  # jitter: not all at once
            client = connection.client.with_options(max_retries=0) if connection.down else connection.client
            try:
                return await client.chat.completions.create(**request)
            except openai.RateLimitError as error:
                if error.code == "insufficient_quota" or loop.time() > deadline:
                    connection.down = True
                    raise
                if connection.resume_at < loop.time():  # otherwise another request has started the pause
                    connection.pause = min(_LONGEST_PAUSE_S, 2 * connection.pause or _PAUSE_S)
                    connection.resume_at = loop.time() + connection.pause
                    log.info("%s: rate limit reached, pausing for %g s", self._base_url, connection.pause)

    def _not_a_completion(self, body: str) -> ModelError:
        return ModelError(
            f"{self._base_url}: the reply is not a chat completion ({' '.join(body.split())[:60]!r}). "
            f"Give the address of an OpenAI-compatible server; it usually ends in /v1."
        )

    async def _served(self) -> str:
        try:
            models = [model.id async for model in self._connection().client.models.list()]
        except (openai.OpenAIError, ValueError, AttributeError, TypeError):
            return "and it does not list its models"
        return f"it serves: {', '.join(models) or 'none'}"

    def _connection(self) -> _Connection:
        """Return the connection of the running event loop; the first call opens it."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise ModelError(f"{self.name}: this model is closed. Connect to the profile's models again.")
            if loop not in self._connections:
                # Connections refer to their loop, so weak keys would never be freed.
                for other in [other for other in self._connections if other.is_closed()]:
                    del self._connections[other]
                self._connections[loop] = self._connect()
            return self._connections[loop]

    def _connect(self) -> _Connection:
        log.debug("%s: connecting to %s", self._base_url, self.name)
        client = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",
            timeout=openai.Timeout(self._timeout, connect=min(self._timeout, 5.0)),
            max_retries=_RETRIES,
            http_client=openai.DefaultAsyncHttpxClient(),  # the SDK's default client closes itself in whatever loop runs then
        )
        return _Connection(client, asyncio.Semaphore(self._concurrency))


async def _gather(coroutines: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run all concurrently; cancel the rest as soon as one fails or the caller is cancelled."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


class _BadRequestError(ModelError):
    """The server understood the request and rejected it; another form of it may work."""
