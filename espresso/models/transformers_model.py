"""ChatModel in this process, on the transformers library: batched, adapters by name, off the event loop.

Requests that wait at the same time and ask for the same thing (adapter, schema, choices, lengths) share a batch. Pictures go in
as they are: how large a model wants them is said by its saved image processor.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from espresso.errors import ModelError
from espresso.models.chat import Completion, Conversation, TokenCount
from espresso.models.hub import fetch
from espresso.profiles.weights import identity

if TYPE_CHECKING:
    from espresso.models.engine import Engine

LOADING = threading.Lock()
"""One for all models: transformers creates weights under settings of the whole process, and two at once leave some at random."""
BATCH_TOKENS = 8192
"""Padded tokens of a batch, replies included: keeps two cores busy and a 2B model's cache under 2 GB."""


@dataclass(frozen=True)
class _Wish:
    """What a request asks for; equal wishes can be batched."""

    choices: tuple[str, ...] | None
    schema: type[BaseModel] | None
    adapter: str | None
    max_tokens: int
    temperature: float
    seed: int | None


@dataclass
class _Request:
    messages: Conversation
    reply: Future[Completion] = field(default_factory=Future)


@dataclass
class _Counted:
    """A request with its prompt, as counted before any pixel is touched."""

    request: _Request
    prompt: str
    size: TokenCount


class LocalModel:
    """A folder that `save_pretrained` wrote, or a hub name, loaded at its first use.

    adapters: name -> folder or hub name of a LoRA adapter. context_length: tokens, where it should be less than the model's own.
    download: what the model weighs ("4.3 GB"), for the error that it is not on this machine. Not bound to any event loop.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        adapters: Mapping[str, str | Path] | None = None,
        context_length: int | None = None,
        download: str | None = None,
    ):
        self._source = str(source)
        self._folder = Path(source) if isinstance(source, Path) or Path(source).is_absolute() else None
        self._adapters = {name: str(path) for name, path in (adapters or {}).items()}
        self._context_length = context_length
        self._download = download
        self._loaded: Engine | None = None
        self._waiting: defaultdict[_Wish, list[_Request]] = defaultdict(list)
        self._queueing = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="local-model")
        self.name = identity(source)

    @property
    def context_length(self) -> int:
        """Tokens, prompt and reply together. Loads the model."""
        own = self._engine().context_length
        return min(own, self._context_length or own)

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
        """Reply to one conversation; see `ChatModel.chat`. Choices take no notice of temperature."""
        (completion,) = await self.chat_many(
            [messages], choices=choices, schema=schema, adapter=adapter, max_tokens=max_tokens, temperature=temperature, seed=seed
        )
        return completion

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
        """Reply to many conversations, in order, in batches of similar length. Raises ModelError if one of them cannot be had."""
        wish = _Wish(tuple(choices) if choices else None, schema, adapter, max_tokens, temperature, seed)
        requests = [_Request(messages) for messages in conversations]
        with self._queueing:
            self._waiting[wish].extend(requests)
        self._worker.submit(self._serve, wish)
        return await asyncio.gather(*(asyncio.wrap_future(request.reply) for request in requests))

    def preload(self) -> None:
        """Begin to load in the background; an error waits for the first use."""
        self._worker.submit(self._engine)

    def count_tokens(self, messages: Conversation) -> TokenCount:
        """Count exactly what the model would receive. Loads the model."""
        engine = self._engine()
        self._check_pictures(engine, messages)
        return engine.reader.count(engine.reader.render(messages), messages)

    async def aclose(self) -> None:
        """Let the weights go."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._loaded = None

    # In the worker thread

    def _serve(self, wish: _Wish) -> None:
        """Reply to all that wait with the same wish; an error goes to the request that caused it, or to the batch."""
        with self._queueing:
            requests = self._waiting.pop(wish, [])
        counted = [entry for request in requests if (entry := self._admit(request, wish))]
        for planned in _batches(counted, wish.max_tokens):
            batch = [entry for entry in planned if entry.request.reply.set_running_or_notify_cancel()]
            if not batch:
                continue
            try:
                completions = self._reply([entry.prompt for entry in batch], [entry.request.messages for entry in batch], wish)
            except Exception as error:
                failure = error if not isinstance(error, ModelError) else ModelError(f"{self.name}: {error}")
                for entry in batch:
                    entry.request.reply.set_exception(failure)
                continue
            for entry, completion in zip(batch, completions, strict=True):
                size = entry.size
                entry.request.reply.set_result(replace(completion, tokens_in=size.total, tokens_visual=size.visual))

    def _admit(self, request: _Request, wish: _Wish) -> _Counted | None:
        """Load, render, count; refuse what cannot fit before any pixel is touched."""
        try:
            engine = self._engine()
            self._check_pictures(engine, request.messages)
            if wish.adapter is not None and wish.adapter not in self._adapters:
                known = ", ".join(self._adapters) or "none"
                raise ModelError(f"{self.name}: no adapter is called {wish.adapter!r} (loaded: {known}). Name it in the profile.")
            prompt = engine.reader.render(request.messages)
            size = engine.reader.count(prompt, request.messages)
            reply = max(len(engine.reader.encode(choice)) for choice in wish.choices) if wish.choices else wish.max_tokens
            if size.total + reply > self.context_length:
                raise ModelError(
                    f"{self.name}: a prompt of {size.total} tokens and a reply of {reply} are over its context of "
                    f"{self.context_length}. Give fewer frames or a shorter text."
                )
        except Exception as error:
            if request.reply.set_running_or_notify_cancel():
                request.reply.set_exception(error)
            return None
        return _Counted(request, prompt, size)

    def _reply(self, prompts: Sequence[str], conversations: Sequence[Conversation], wish: _Wish) -> list[Completion]:
        engine = self._engine()
        if wish.choices:
            return engine.score(prompts, conversations, choices=wish.choices, adapter=wish.adapter)
        return engine.generate(
            prompts,
            conversations,
            schema=wish.schema,
            adapter=wish.adapter,
            max_tokens=wish.max_tokens,
            temperature=wish.temperature,
            seed=wish.seed,
        )

    def _check_pictures(self, engine: Engine, messages: Conversation) -> None:
        if not engine.sees and any(message.pictures for message in messages):
            raise ModelError(f"{self.name}: it reads text only, but was shown pictures. Give this role a vision model.")

    def _engine(self) -> Engine:
        """Load once. Raises ModelError naming the model, or the adapter, that is not there."""
        if self._loaded is None:
            with LOADING:
                self._loaded = self._loaded or self._load()
        return self._loaded

    def _load(self) -> Engine:
        for name, path in self._adapters.items():
            if Path(path).is_absolute() and not (Path(path) / "adapter_config.json").exists():
                raise ModelError(
                    f"{path}: no adapter there for {name!r} (no adapter_config.json). Train it, or correct the profile."
                )
        if self._folder and not (self._folder / "config.json").exists():
            raise ModelError(f"{self._folder}: no model there (no config.json). Give a folder that `save_pretrained` wrote.")
        folders = {name: fetch(path) for name, path in self._adapters.items()}
        source = fetch(self._source, self._download)
        from espresso.models.engine import Engine  # noqa: PLC0415 - torch and transformers take seconds to import

        try:
            return Engine(source, folders)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"{self._folder or self._source}: this model cannot be loaded ({reason}).") from error


def _batches(entries: Sequence[_Counted], max_tokens: int) -> Iterator[list[_Counted]]:
    """Cut into batches of similar length, longest first, none over `BATCH_TOKENS` padded tokens unless a single one is."""
    batch: list[_Counted] = []
    for entry in sorted(entries, key=lambda entry: -entry.size.total):
        if batch and (len(batch) + 1) * (batch[0].size.total + max_tokens) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch
