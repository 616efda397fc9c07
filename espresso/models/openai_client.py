"""ChatModel over HTTP: vLLM, or any service that speaks OpenAI's chat completions.

Pictures travel as data URLs, JSON and choices are constrained by the server, and the SDK retries with back-off what is worth it
(429, 408, 409, 5xx, a dropped connection). Where a server goes on to say that it is asked too often, all requests to it pause.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import openai
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from espresso.errors import ModelError, ServerDownError
from espresso.models import openai_format as wire
from espresso.models.chat import Completion, Conversation, TokenCount

Result = TypeVar("Result")
_RETRIES = 3
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_TOP_LOGPROBS = 20  # the most that OpenAI allows, and vLLM's default limit
_TURN_TOKENS = 8  # role and separators of a message, generously


@dataclass
class _Session:
    """A client and its queue, both bound to one event loop.

    down: nobody answered lately, so that nobody is waited for again. resume: loop time before which nothing is sent, because the
    server was asked too often; pause: seconds that the last such break took.
    """

    loop: asyncio.AbstractEventLoop
    client: openai.AsyncOpenAI
    places: asyncio.Semaphore
    down: bool = False
    resume: float = 0.0
    pause: float = 0.0


class ServerModel:
    """A model behind an OpenAI-compatible server.

    adapters: name -> the model name under which the server offers base and adapter together (vLLM's `--lora-modules`).
    context_length: tokens the server allows. picture_tokens: the most that one picture becomes. timeout: seconds for one try.
    concurrency: requests under way at once. start_with: the command that starts this server, for the error that it is down.
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
        start_with: str | None = None,
    ):
        self.name = model
        self.context_length = context_length
        self._base_url = base_url
        self._picture_tokens = picture_tokens
        self._api_key = api_key
        self._adapters = dict(adapters or {})
        self._timeout = timeout
        self._concurrency = concurrency
        self._start_with = start_with
        self._open: _Session | None = None
        self._knows_choice = True
        self._knows_prompts: bool | None = None  # until it was asked

    async def chat(
        self,
        messages: Conversation,
        *,
        choices: Sequence[str] | None = None,
        schema: type[BaseModel] | None = None,
        adapter: str | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> Completion:
        """Reply to one conversation; see `ChatModel.chat`.

        Choices longer than a letter are weighed as whole replies by vLLM's `prompt_logprobs`, a request each, exactly as a local
        model weighs them. Letters are constrained by vLLM's `structured_outputs`. A server that refuses or ignores such a field
        (OpenAI's own does) is asked for JSON with an enum instead, from then on. Probabilities are then read off the tokens' top
        log-probabilities: exact where one token tells the choices apart, an upper bound for a choice that the reply turned away
        from earlier, and absent where the server gives none. tokens_visual is an estimate from above.
        """
        if adapter is not None and adapter not in self._adapters:
            known = ", ".join(self._adapters) or "none"
            raise ModelError(f"{self.name}: no adapter is called {adapter!r} (known: {known}). Name it in the profile.")
        request: dict[str, Any] = {
            "model": self._adapters[adapter] if adapter else self.name,
            "messages": await asyncio.to_thread(wire.messages, messages),
            "max_completion_tokens": max_tokens,
            "temperature": temperature,
            "logprobs": True,
        }
        if seed is not None:
            request["seed"] = seed
        if schema:
            request["response_format"] = wire.json_format(schema.__name__, schema.model_json_schema())
        if choices:
            completion = await self._weigh(request, choices) or await self._choose(request, list(choices))
        else:
            completion = wire.completion(await self._ask(request))
        visual = sum(message.pictures for message in messages) * self._picture_tokens
        parsed = wire.parse(schema, completion.text) if schema else None
        return replace(completion, parsed=parsed, tokens_visual=min(visual, completion.tokens_in))

    async def chat_many(
        self,
        conversations: Sequence[Conversation],
        *,
        choices: Sequence[str] | None = None,
        schema: type[BaseModel] | None = None,
        adapter: str | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> list[Completion]:
        """Reply to many conversations, in order, concurrently. Raises ModelError as soon as one fails; the rest are dropped."""
        return await gathered(
            [
                self.chat(
                    messages,
                    choices=choices,
                    schema=schema,
                    adapter=adapter,
                    max_tokens=max_tokens,
                    temperature=temperature,
                    seed=seed,
                )
                for messages in conversations
            ]
        )

    def count_tokens(self, messages: Conversation) -> TokenCount:
        """Estimate from above, without the server's tokenizer: two letters a token (English has four), all else by its bytes."""
        visual = sum(message.pictures for message in messages) * self._picture_tokens
        texts = [part for message in messages for part in message.content if isinstance(part, str)]
        letters = sum(len(re.findall(r"[A-Za-z ]", text)) for text in texts)
        rest = sum(len(text.encode()) for text in texts) - letters
        return TokenCount(visual + math.ceil(letters / 2) + rest + _TURN_TOKENS * (len(messages) + 1), visual)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._open and self._open.loop is asyncio.get_running_loop():
            await self._open.client.close()
        self._open = None

    async def _weigh(self, request: dict[str, Any], choices: Sequence[str]) -> Completion | None:
        """Let each choice have been said, and compare how likely they were; None where one letter does or the server cannot."""
        if self._knows_prompts is False or all(len(choice) == 1 for choice in choices):
            return None
        weigh = {"max_completion_tokens": 1, "extra_body": {"prompt_logprobs": 0, "add_generation_prompt": False}}

        async def said(choice: str) -> ChatCompletion:
            return await self._ask(request | weigh | {"messages": [*request["messages"], wire.turn(choice)]})

        try:
            replies = await gathered([said(choice) for choice in choices])
        except _BadRequest:
            if self._knows_prompts:  # then this prompt is at fault, not the way of asking
                raise
            replies = []
        tokens = [wire.prompt_tokens(reply) for reply in replies]
        self._knows_prompts = bool(tokens) and all(tokens)
        return wire.compared(choices, tokens, replies) if self._knows_prompts else None

    async def _choose(self, request: dict[str, Any], choices: list[str]) -> Completion:
        request |= {"top_logprobs": _TOP_LOGPROBS}
        if self._knows_choice:
            try:
                reply = await self._ask(request | {"extra_body": {"structured_outputs": {"choice": choices}}})
            except _BadRequest:
                pass
            else:
                completion = wire.completion(reply)
                if completion.text in choices:
                    return wire.weighed(completion, reply, {choice: choice for choice in choices}, completion.text)
        reply = await self._ask(request | {"response_format": wire.json_format("choice", wire.enum(choices))})
        self._knows_choice = False
        completion = wire.completion(reply)
        texts = wire.enum_texts(completion.text, choices)
        if texts:
            chosen = next(choice for choice, text in texts.items() if text == completion.text)
            return wire.weighed(completion, reply, texts, chosen)
        raise ModelError(
            f"{self._base_url}: {self.name} replied {completion.text[:60]!r} where it had to choose one of {choices}. "
            f"Use a server with structured outputs, such as vLLM."
        )

    async def _ask(self, request: dict[str, Any]) -> ChatCompletion:
        """Send; turn what can go wrong into a sentence."""
        session = self._session()
        model = request["model"]
        try:
            async with session.places:
                reply = await self._send(request, session)
            session.down, session.pause = False, 0.0
        except openai.APITimeoutError as error:
            raise ModelError(
                f"{self._base_url}: no reply from {model} within {self._timeout:g} s, tried {_RETRIES + 1} times. "
                f"Ask for less, or raise `timeout` in the profile."
            ) from error
        except openai.APIConnectionError as error:
            session.down = True
            start = f"Start it with `{self._start_with}`." if self._start_with else "Check the address and the network."
            raise ServerDownError(f"{self._base_url}: no server answers there for {model}. {start}") from error
        except openai.NotFoundError as error:
            raise ModelError(f"{self._base_url}: no model is called {model!r} there ({await self._served()}).") from error
        except openai.AuthenticationError as error:
            raise ModelError(
                f"{self._base_url}: the server refuses the key for {model}. Set the profile's `api_key_env`."
            ) from error
        except openai.BadRequestError as error:
            raise _BadRequest(f"{self._base_url}: {model} refuses the request: {wire.reason(error)}") from error
        except openai.APIStatusError as error:
            raise ModelError(f"{self._base_url}: {model} failed with status {error.status_code}: {wire.reason(error)}") from error
        except ValueError as error:
            raise self._nonsense(str(error)) from error
        first = next(iter(getattr(reply, "choices", None) or ()), None)
        if not isinstance(reply, ChatCompletion) or getattr(first, "message", None) is None:
            raise self._nonsense(str(reply))
        return reply

    async def _send(self, request: dict[str, Any], session: _Session) -> ChatCompletion:
        """Send; where the SDK's own retries do not help against a limit, all wait, as long as a server that hangs is waited for.

        The SDK minds what the server says of when to come back; a budget that is used up is no matter of waiting.
        """
        patience = session.loop.time() + (0 if session.down else self._timeout * (_RETRIES + 1))
        while True:
            while (wait := session.resume - session.loop.time()) > 0:
                await asyncio.sleep(wait * (1 + random.random() / 2))  # not all at once
            client = session.client.with_options(max_retries=0) if session.down else session.client
            try:
                return await client.chat.completions.create(**request)
            except openai.RateLimitError as error:
                if error.code == "insufficient_quota" or session.loop.time() > patience:
                    session.down = True
                    raise
                if session.resume < session.loop.time():  # else another request has called the break
                    session.pause = min(_LONGEST_PAUSE_S, 2 * session.pause or _PAUSE_S)
                    session.resume = session.loop.time() + session.pause

    def _nonsense(self, found: str) -> ModelError:
        return ModelError(
            f"{self._base_url}: what came back is no chat completion ({' '.join(found.split())[:60]!r}). "
            f"Give the address of an OpenAI-compatible server; it mostly ends in /v1."
        )

    async def _served(self) -> str:
        try:
            models = [model.id async for model in self._session().client.models.list()]
        except (openai.OpenAIError, ValueError, AttributeError, TypeError):
            return "and it does not list its models"
        return f"it serves: {', '.join(models) or 'none'}"

    def _session(self) -> _Session:
        """Return the client of the running event loop; connections of an earlier, finished loop cannot be used."""
        loop = asyncio.get_running_loop()
        if self._open is None or self._open.loop is not loop:
            client = openai.AsyncOpenAI(
                base_url=self._base_url,
                api_key=self._api_key or "none",
                timeout=openai.Timeout(self._timeout, connect=min(self._timeout, 5.0)),
                max_retries=_RETRIES,
                http_client=openai.DefaultAsyncHttpxClient(),  # the SDK's own, once dropped, closes itself in another loop
            )
            self._open = _Session(loop, client, asyncio.Semaphore(self._concurrency))
        return self._open


async def gathered(waited: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Wait for all; as soon as one fails, or nobody waits any more, the rest are cancelled."""
    tasks = [asyncio.create_task(each) for each in waited]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


class _BadRequest(ModelError):
    """The server understood and refused: another form of the request may do."""
