"""A chat model over HTTP: vLLM, or any service with OpenAI's chat completions.

Pictures are sent as data URLs. The server constrains JSON and choices. The SDK retries with
back-off (408, 409, 429, 5xx, dropped connections); if a server still answers 429, all requests to
it pause. A parameter that the server names as not accepted is left out from then on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import re
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, Unpack
from urllib.parse import urlsplit

import openai

from espresso.errors import ModelError, ServerDownError
from espresso.forks import Lock
from espresso.models import openai_connection, openai_format
from espresso.models.chat import (
    Completion,
    Conversation,
    GenerateConfig,
    GenerateOptions,
    OnReply,
    TokenCount,
    chat_at,
    length_fault,
    parse_reply,
)
from espresso.models.openai_connection import server_words
from espresso.models.openai_format import Reply
from espresso.profiles.address import check_address, check_key, without_credentials

log = logging.getLogger(__name__)

Result = TypeVar("Result")
_RETRIES = 3
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_TOP_LOGPROBS = 20
"""The maximum of OpenAI's API and vLLM's default limit."""
_TURN_TOKENS = 8
"""Upper estimate for the role and the separators of a message."""
_FILTER_CODES = ("content_filter", "content_policy_violation", "data_inspection_failed", "moderation")
"""Codes of errors about one prompt: OpenAI's and Azure's, Qwen's, OpenRouter's."""
_NO_ROOM = re.compile(r"could not finish the message|output limit was reached", re.IGNORECASE)
"""What OpenAI says if the thoughts leave no tokens for the reply."""


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
        extra_tokens: tokens that each reply may be longer than requested, for models that think.
        omit: parameters that the server does not accept.
        extra_body: fields to add to each request.

    Raises:
        ModelError: the address or the key cannot be right.
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
        extra_tokens: int = 0,
        omit: Collection[str] = (),
        extra_body: Mapping[str, Any] | None = None,
    ):
        try:
            check_address(base_url)
            check_key(api_key or "", f"the profile's `api_key_env` for {model}")
        except ValueError as error:
            raise ModelError(f"{model}: {error}.") from error
        self.name = model
        self.context_length = max(context_length - extra_tokens, 1)
        self._address = base_url
        self._base_url = without_credentials(base_url)
        self._picture_tokens = picture_tokens
        self._api_key = api_key
        self._adapters = dict(adapters or {})
        self._timeout = timeout
        self._concurrency = concurrency
        self._start_command = start_command
        self._connections: dict[asyncio.AbstractEventLoop, _Connection] = {}
        self._closed = False
        self._lock = Lock()
        self._extra_tokens = extra_tokens
        self._extra_body = dict(extra_body or {})
        self._changes: dict[str, Any] = dict.fromkeys(omit)  # parameter -> the value that the server accepts; None omits it
        self._has_structured_outputs = "structured_outputs" not in omit
        self._has_prompt_logprobs = False if "prompt_logprobs" in omit else None  # None until the first request for them

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

        A reply that is empty, cut off, refused or filtered has a `fault`; where the request had
        choices, it is a ModelError.
        """
        config = GenerateConfig(**options)
        if config.adapter is not None and config.adapter not in self._adapters:
            known = ", ".join(self._adapters) or "none"
            raise ModelError(f"{self.name}: unknown adapter {config.adapter!r} (known: {known}). Name it in the profile.")
        request: dict[str, Any] = {
            "model": self._adapters[config.adapter] if config.adapter else self.name,
            "messages": await asyncio.to_thread(openai_format.encode_messages, messages),
            "max_completion_tokens": config.max_tokens + self._extra_tokens,
            "temperature": config.temperature,
            "logprobs": True,
            "extra_body": self._extra_body,
        }
        if config.seed is not None:
            request["seed"] = config.seed
        schema = config.schema
        if schema:
            request["response_format"] = openai_format.response_format(schema.__name__, schema.model_json_schema())
        if config.choices:
            completion = await self._score(request, config.choices) or await self._choose(request, config.choices)
            if self._has_prompt_logprobs is None and max(map(len, config.choices)) > 1:
                self._has_prompt_logprobs = False  # the server rejected the scoring and accepted this
        else:
            completion = await self._write(request)
        visual = sum(message.pictures for message in messages) * self._picture_tokens
        parsed = parse_reply(schema, completion.text) if schema else None
        fault = None if parsed else completion.fault  # JSON that is complete was not cut off
        return replace(completion, parsed=parsed, fault=fault, tokens_visual=min(visual, completion.tokens_in))

    async def chat_many(
        self, conversations: Sequence[Conversation], *, on_reply: OnReply | None = None, **options: Unpack[GenerateOptions]
    ) -> list[Completion]:
        """Reply to many conversations, in order, concurrently; see `ChatModel.chat_many`.

        The first failure cancels the requests that are left.
        """
        return await _gather([chat_at(at, self, messages, on_reply, **options) for at, messages in enumerate(conversations)])

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

    async def _write(self, request: dict[str, Any]) -> Completion:
        """Let the server write the reply; a prompt that its content filter stops is a fault too."""
        try:
            reply = await self._send(request)
        except _RequestError as error:
            if error.code in _FILTER_CODES:
                return Completion("", fault=f"the server's content filter stopped it: {error.words}")
            if _NO_ROOM.search(error.words):
                return Completion("", fault=length_fault(request["max_completion_tokens"], thinking=True))
            raise
        return openai_format.decode_completion(reply, request["max_completion_tokens"])

    async def _score(self, request: dict[str, Any], choices: Sequence[str]) -> Completion | None:
        """Compare the log-probabilities of each choice as a finished turn of the prompt.

        Returns None if all choices are single characters, or the server has no `prompt_logprobs`.
        """
        if self._has_prompt_logprobs is False or all(len(choice) == 1 for choice in choices):
            return None
        body = request["extra_body"] | {"prompt_logprobs": 0, "add_generation_prompt": False}
        scoring = request | {"max_completion_tokens": 1, "extra_body": body}

        async def score(choice: str) -> Reply:
            return await self._send(scoring | {"messages": [*request["messages"], openai_format.assistant_turn(choice)]})

        try:
            replies = await _gather([score(choice) for choice in choices])
        except _RequestError as error:
            if self._has_prompt_logprobs or not error.is_rejection:  # the server supports the field, so it rejects this prompt
                raise
            return None
        prompts = [openai_format.prompt_logprobs(reply) for reply in replies]
        self._has_prompt_logprobs = all(prompts)
        if not self._has_prompt_logprobs:
            log.info("%s: %s reports no prompt_logprobs; choices are constrained instead", self._base_url, request["model"])
            return None
        return openai_format.score_choices(choices, prompts, replies)

    async def _choose(self, request: dict[str, Any], choices: Sequence[str]) -> Completion:
        """Let the server constrain the reply to one of the choices."""
        request |= {"top_logprobs": _TOP_LOGPROBS}
        constrained = True
        if self._has_structured_outputs:
            body = request["extra_body"] | {"structured_outputs": {"choice": list(choices)}}
            try:
                reply = await self._send(request | {"extra_body": body})
            except _RequestError as error:
                if not error.is_rejection:
                    raise
            else:
                completion = openai_format.decode_completion(reply, request["max_completion_tokens"])
                if completion.text in choices and not completion.fault:
                    texts = {choice: choice for choice in choices}
                    return openai_format.add_choice_logprobs(completion, reply, texts, completion.text)
                constrained = not completion.fault
            log.info("%s: %s has no structured_outputs; trying JSON with an enum", self._base_url, request["model"])
        schema = openai_format.choice_schema(choices)
        reply = await self._send(request | {"response_format": openai_format.response_format("choice", schema)})
        completion = openai_format.decode_completion(reply, request["max_completion_tokens"])
        if constrained:
            self._has_structured_outputs = False
        texts = openai_format.choice_replies(completion.text, choices)
        if texts:
            chosen = next(choice for choice, text in texts.items() if text == completion.text)
            return replace(openai_format.add_choice_logprobs(completion, reply, texts, chosen), fault=None)
        if completion.fault:
            raise ModelError(f"{self._base_url}: {self.name} chose none of {list(choices)}: {completion.fault}.")
        if named := openai_format.named_choice(completion.text, choices):
            return replace(completion, text=named, confidence=None)
        raise ModelError(
            f"{self._base_url}: {self.name} replied {completion.text[:60]!r} instead of one of {list(choices)}. "
            f"Use a server with structured outputs, such as vLLM."
        )

    async def _send(self, request: dict[str, Any]) -> Reply:
        """Send a request in the form that the server accepts.

        Parameters that an error names are left out, and from then on if the request succeeds.
        """
        changes = self._changes
        while True:
            adapted = openai_format.adapt(request, changes)
            try:
                reply = await self._post(adapted)
            except _RequestError as error:
                rejected = openai_format.rejected_parameters(error.words, error.parameter, adapted)
                if rejected.keys() <= changes.keys():
                    raise
                changes = rejected | changes
                continue
            if changes.keys() != self._changes.keys():
                log.info("%s: %s does not accept %s", self._base_url, request["model"], ", ".join(sorted(changes)))
                self._changes = self._changes | changes
            return reply

    async def _post(self, request: dict[str, Any]) -> Reply:
        """Send a request and turn every failure into a `ModelError` that says what to do."""
        connection = self._connection()
        model = request["model"]
        try:
            async with connection.slots:
                body = await self._create(request, connection)
            connection.down, connection.pause = False, 0.0
        except openai.APIConnectionError as error:
            raise self._connection_error(error, model, connection) from error
        except openai.APIStatusError as error:
            raise await self._status_error(error, model) from error
        except ValueError as error:  # a header or a text that cannot be encoded
            raise ModelError(f"{self._base_url}: the request to {model} cannot be sent ({error}).") from error
        try:
            reply = json.loads(body.lstrip("\ufeff"))
        except (ValueError, RecursionError) as error:
            raise self._not_a_completion(body) from error
        return self._checked(reply, body, model)

    def _checked(self, reply: Any, body: str, model: str) -> Reply:
        """Return a chat completion; raise if the reply is an error or anything else."""
        choices = reply.get("choices") if isinstance(reply, Mapping) else None
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
        error = first.get("error") or (reply.get("error") if isinstance(reply, Mapping) else None)
        if error or (isinstance(reply, Mapping) and not first and ("detail" in reply or reply.get("object") == "error")):
            words = self._without_key(server_words(json.dumps(error) if error else body))
            code = error.get("code") if isinstance(error, Mapping) else None
            numbered = f" (code {code})" if code is not None and str(code) not in words else ""
            status = code if isinstance(code, int) else 200
            raise _RequestError(
                f"{self._base_url}: {model} failed: {words or body[:60]}{numbered}", words, _details(reply), status
            )
        if not (first.get("message") or first.get("finish_reason")):
            raise self._not_a_completion(body, is_json="choices" in reply or "usage" in reply)
        return dict(reply)

    def _connection_error(self, error: openai.APIConnectionError, model: str, connection: _Connection) -> ModelError:
        timed_out = isinstance(error, openai.APITimeoutError)
        connecting = type(error.__cause__).__name__ == "ConnectTimeout" and self._timeout > openai_connection.CONNECT_S
        if timed_out and not connecting:
            return ModelError(
                f"{self._base_url}: no reply from {model} within {self._timeout:g} s, tried {_RETRIES + 1} times. "
                f"Ask for less, or raise `timeout` in the profile."
            )
        connection.down = True
        reason, broke_off = openai_connection.connection_fault(error, self._address)
        log.info("%s: could not connect: %s", self._base_url, reason)
        if broke_off:
            return ServerDownError(
                f"{self._base_url}: the connection to the server of {model} broke off ({reason}). "
                f"Try again, or see the server's log."
            )
        start = f"Start it with `{self._start_command}`." if self._start_command else "Check the address and the network."
        return ServerDownError(f"{self._base_url}: could not connect to the server of {model} ({reason}). {start}")

    async def _status_error(self, error: openai.APIStatusError, model: str) -> ModelError:
        """Return the error of a reply with a status from 400 on, in the server's own words."""
        response, status = error.response, error.status_code
        words = self._without_key(server_words(response.text))
        said = words.rstrip(". ") or f"{response.reason_phrase or status}, with an empty body"
        if response.history:
            said += f"; it redirects to {without_credentials(str(response.url))}, so correct `base_url`"
        if status in (404, 405) and openai_connection.is_missing_path(words):
            message = f"there is no chat completions API at this address (status {status}: {said}). {self._address_hint()}"
        elif status == 404 and re.search("model|deployment", words, re.IGNORECASE):
            message = f"no model is called {model!r} there ({await self._served()}); the server says: {said}."
        elif status == 401:
            message = f"the server rejects the API key for {model}: {said}. Set the profile's `api_key_env`."
        elif status in (400, 422):
            message = f"{model} rejects the request: {said}"
        else:
            message = f"{model} failed with status {status}: {said}"
        try:
            details = _details(json.loads(response.text))
        except (ValueError, RecursionError):
            details = {}
        return _RequestError(f"{self._base_url}: {message}", words, details, status)

    def _without_key(self, words: str) -> str:
        return words.replace(self._api_key, "***") if self._api_key and len(self._api_key) > 7 else words

    def _address_hint(self) -> str:
        path = urlsplit(self._address).path.rstrip("/")
        if path.endswith("/v1"):
            return "Correct the path of `base_url` in the profile."
        return f"Its path is missing or wrong; most servers have the API at {self._base_url.rstrip('/')}/v1."

    async def _create(self, request: dict[str, Any], connection: _Connection) -> str:
        """Send a request and return the body of the reply.

        All requests of this event loop pause if the SDK's retries end with 429.

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
                reply = await client.chat.completions.with_raw_response.create(**request)
                return reply.http_response.text
            except openai.RateLimitError as error:
                if error.code == "insufficient_quota" or loop.time() > deadline:
                    connection.down = True
                    raise
                if connection.resume_at < loop.time():  # otherwise another request has started the pause
                    connection.pause = min(_LONGEST_PAUSE_S, 2 * connection.pause or _PAUSE_S)
                    connection.resume_at = loop.time() + connection.pause
                    log.info("%s: rate limit reached, pausing for %g s", self._base_url, connection.pause)

    def _not_a_completion(self, body: str, *, is_json: bool = False) -> ModelError:
        quoted = repr(self._without_key(server_words(body) or body)[:60])
        if is_json:  # of the right kind, so the address is right
            return ModelError(f"{self._base_url}: the reply is not a chat completion, it has no message ({quoted}).")
        return ModelError(
            f"{self._base_url}: the reply is not a chat completion ({quoted}). "
            f"Give the address of an OpenAI-compatible server. {self._address_hint()}"
        )

    async def _served(self) -> str:
        try:
            models = [str(model.id) async for model in self._connection().client.models.list()]
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
        client = openai_connection.connect(self._address, api_key=self._api_key, timeout=self._timeout, retries=_RETRIES)
        return _Connection(client, asyncio.Semaphore(self._concurrency))


async def _gather(coroutines: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run all concurrently; cancel the rest as soon as one fails or the caller is cancelled."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


class _RequestError(ModelError):
    """The server answered with an error."""

    words: str
    """The server's own words."""

    code: str
    """Code or type of the error; empty if unknown."""

    parameter: str | None
    """The parameter that the error is about; None if unknown."""

    is_rejection: bool
    """Whether the server rejected the request, so that another form of it may work."""

    def __init__(self, message: str, words: str, details: Mapping[str, Any], status: int) -> None:
        super().__init__(message)
        self.words = words
        self.code = str(details.get("code") or details.get("type") or "")
        self.parameter = details.get("param") if isinstance(details.get("param"), str) else None
        self.is_rejection = status in (400, 422, 501)


def _details(body: Any) -> Mapping[str, Any]:
    """Return the object of an error that may hold its code and the parameter it is about."""
    error = body.get("error") if isinstance(body, Mapping) else None
    found = error if isinstance(error, Mapping) else body
    return found if isinstance(found, Mapping) else {}
