"""A chat model in this process, on the transformers library, batched and off the event loop.

Requests that wait at the same time with the same options (adapter, schema, choices, lengths) share
a batch. Pictures are resized by the model's own saved image processor.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from espresso.errors import ModelError
from espresso.forks import Lock, renew_in_child
from espresso.models.chat import Completion, Conversation, GenerateConfig, GenerateOptions, OnReply, TokenCount
from espresso.models.hub import LOADING, fetch
from espresso.profiles.weights import check_base, identity

if TYPE_CHECKING:
    from espresso.models.engine import Engine

log = logging.getLogger(__name__)

BATCH_TOKENS = 8192
"""Padded tokens of a batch, replies included.

Keeps two cores busy and the KV cache of a 2B model under 2 GB.
"""


@dataclass
class _Request:
    messages: Conversation
    reply: Future[Completion] = field(default_factory=Future)


@dataclass
class _Prepared:
    """A request with its rendered prompt and its size, before any picture is processed."""

    request: _Request
    prompt: str
    size: TokenCount


class TransformersModel:
    """A model that is loaded at its first use and runs in its own worker thread.

    After `os.fork`, the child loads it again: the worker may have been in the middle of a reply.

    Args:
        source: a folder that `save_pretrained` wrote, or a hub name.
        adapters: name -> folder or hub name of a LoRA adapter.
        context_length: limit in tokens; None is the model's own limit.
        image_options: keyword arguments of the image processor; None keeps a picture in one piece.
        extra_tokens: tokens that each reply may be longer than requested, for models that think.
        download: size in words ("4.3 GB"), for the error that the model is not on this machine.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        adapters: Mapping[str, str | Path] | None = None,
        context_length: int | None = None,
        image_options: Mapping[str, Any] | None = None,
        extra_tokens: int = 0,
        download: str | None = None,
    ):
        self.name = identity(source)
        self._source = str(source)
        self._folder = Path(source) if isinstance(source, Path) or Path(source).is_absolute() else None
        self._adapters = {name: str(path) for name, path in (adapters or {}).items()}
        self._context_length = context_length
        self._image_options = image_options
        self._extra_tokens = extra_tokens
        self._download = download
        self._loaded: Engine | None = None
        self._closed = False
        self._waiting: defaultdict[GenerateConfig, list[_Request]] = defaultdict(list)
        self._lock = Lock()
        self._worker = self._start_worker()
        renew_in_child(self)

    def renew(self) -> None:
        """Start again in a forked child; see `espresso.forks`."""
        self._waiting.clear()
        self._loaded = None
        self._worker = self._start_worker()

    def _start_worker(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix=f"model {self.name}")

    @property
    def context_length(self) -> int:
        """Limit for prompt and reply together, in tokens. Loads the model."""
        limit = self._engine().context_length
        return max(min(limit, self._context_length or limit) - self._extra_tokens, 1)

    async def chat(self, messages: Conversation, **options: Unpack[GenerateOptions]) -> Completion:
        """Reply to one conversation; see `ChatModel.chat`."""
        (completion,) = await self.chat_many([messages], **options)
        return completion

    async def chat_many(
        self, conversations: Sequence[Conversation], *, on_reply: OnReply | None = None, **options: Unpack[GenerateOptions]
    ) -> list[Completion]:
        """Reply to many conversations in batches of similar length; see `ChatModel.chat_many`."""
        config = GenerateConfig(**options)
        requests = [_Request(messages) for messages in conversations]
        with self._lock:
            self._check_open()
            self._waiting[config].extend(requests)
            self._worker.submit(self._serve, config)
        replies = [asyncio.wrap_future(request.reply) for request in requests]
        if on_reply:
            for position, reply in enumerate(replies):
                reply.add_done_callback(partial(_report, on_reply, position))
        return await asyncio.gather(*replies)

    def preload(self) -> None:
        """Start to load in the background; an error is raised at the first use."""
        with self._lock:
            if self._loaded is None and not self._closed:
                self._worker.submit(self._engine)

    def count_tokens(self, messages: Conversation) -> TokenCount:
        """Return exactly the tokens that the model would receive. Loads the model."""
        engine = self._engine()
        self._check_pictures(engine, messages)
        return engine.processor.count(engine.processor.render(messages), messages)

    async def disconnect(self) -> None:
        """Do nothing: there are no connections."""

    def close(self) -> None:
        """Free the weights and the worker thread.

        The current batch is finished; requests that wait fail.
        """
        with self._lock:
            self._closed = True
            abandoned = [request for requests in self._waiting.values() for request in requests]
            self._waiting.clear()
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._loaded = None
        for request in abandoned:
            if request.reply.set_running_or_notify_cancel():
                request.reply.set_exception(ModelError(f"{self.name}: the model was closed before it replied."))

    def _check_open(self) -> None:
        if self._closed:
            raise ModelError(f"{self.name}: this model is closed. Connect to the profile's models again.")

    # The methods below run in the worker thread.

    def _serve(self, config: GenerateConfig) -> None:
        """Reply to all requests that wait with the same config.

        An error goes to the request that caused it, or to all of its batch.
        """
        with self._lock:
            requests = self._waiting.pop(config, [])
        prepared = [entry for request in requests if (entry := self._prepare(request, config))]
        config = replace(config, max_tokens=config.max_tokens + self._extra_tokens)
        for entries in _batches(prepared, config.max_tokens):
            batch = [entry for entry in entries if entry.request.reply.set_running_or_notify_cancel()]
            if not batch:
                continue
            try:
                completions = self._reply([entry.prompt for entry in batch], [entry.request.messages for entry in batch], config)
            except Exception as error:
                failure = error if not isinstance(error, ModelError) else ModelError(f"{self.name}: {error}")
                for entry in batch:
                    entry.request.reply.set_exception(failure)
                continue
            for entry, completion in zip(batch, completions, strict=True):
                size = entry.size
                entry.request.reply.set_result(replace(completion, tokens_in=size.total, tokens_visual=size.visual))

    def _prepare(self, request: _Request, config: GenerateConfig) -> _Prepared | None:
        """Render and count a prompt; fail the request here if it cannot be answered."""
        try:
            engine = self._engine()
            self._check_pictures(engine, request.messages)
            if config.adapter is not None and config.adapter not in self._adapters:
                known = ", ".join(self._adapters) or "none"
                raise ModelError(f"{self.name}: unknown adapter {config.adapter!r} (loaded: {known}). Name it in the profile.")
            prompt = engine.processor.render(request.messages)
            size = engine.processor.count(prompt, request.messages)
            if config.choices:
                reply = max(len(engine.processor.encode(choice)) for choice in config.choices)
            else:
                reply = config.max_tokens
            if size.total + reply > self.context_length:
                raise ModelError(
                    f"{self.name}: a prompt of {size.total} tokens and a reply of {reply} tokens exceed its context of "
                    f"{self.context_length}. Use fewer frames or a shorter text."
                )
        except Exception as error:
            if request.reply.set_running_or_notify_cancel():
                request.reply.set_exception(error)
            return None
        return _Prepared(request, prompt, size)

    def _reply(self, prompts: Sequence[str], conversations: Sequence[Conversation], config: GenerateConfig) -> list[Completion]:
        engine = self._engine()
        if config.choices:
            return engine.score(prompts, conversations, config.choices, config.adapter)
        return engine.generate(prompts, conversations, config)

    def _check_pictures(self, engine: Engine, messages: Conversation) -> None:
        if not engine.vision and any(message.pictures for message in messages):
            raise ModelError(f"{self.name}: this text model cannot take pictures. Give the role a vision model.")

    def _engine(self) -> Engine:
        """Return the loaded model; the first call loads it.

        Raises:
            ModelError: the model or an adapter is missing or invalid, or the model is closed.
        """
        engine = self._loaded
        if engine is None:
            with LOADING:
                self._check_open()
                engine = self._loaded = self._loaded or self._load()
                if self._closed:  # while it was loading
                    self._loaded = None
        return engine

    def _load(self) -> Engine:
        for name, path in self._adapters.items():
            if Path(path).is_absolute() and not (Path(path) / "adapter_config.json").exists():
                raise ModelError(
                    f"adapter {name!r}: {path} has no adapter_config.json. Train the adapter, or correct its path in the profile."
                )
        if self._folder and not (self._folder / "config.json").exists():
            raise ModelError(f"{self._folder} has no config.json. Give a folder that `save_pretrained` wrote.")
        adapters = {name: fetch(path) for name, path in self._adapters.items()}
        source = fetch(self._source, self._download)
        for name, adapter in adapters.items():
            check_base(name, Path(adapter), Path(source))
        start = time.perf_counter()
        with _collector_paused():
            from safetensors import SafetensorError  # noqa: PLC0415

            from espresso.models.engine import Engine  # noqa: PLC0415 - torch and transformers take seconds to import

            try:
                engine = Engine(source, adapters, self._image_options)
            except (OSError, ValueError, SafetensorError) as error:
                reason = str(error).splitlines()[0]
                raise ModelError(f"{self._folder or self._source}: cannot load this model ({reason}).") from error
            except RuntimeError as error:
                if "forked subprocess" not in str(error):
                    raise
                raise ModelError(
                    f"{self._folder or self._source}: a forked process cannot use the GPU that its parent uses. Fork before the "
                    'first question, or start processes with multiprocessing.get_context("spawn").'
                ) from error
        log.info("loaded %s (adapters: %s) in %.1f s", self.name, ", ".join(adapters) or "none", time.perf_counter() - start)
        return engine


def _report(on_reply: OnReply, position: int, reply: asyncio.Future[Completion]) -> None:
    """Report a reply, unless it failed."""
    if not reply.cancelled() and not reply.exception():
        on_reply(position, reply.result())


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector: it takes a fifth of the time that the imports take."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _batches(entries: Sequence[_Prepared], max_tokens: int) -> Iterator[list[_Prepared]]:
    """Split into batches of similar length, longest first, of at most `BATCH_TOKENS` padded tokens.

    A single longer request is a batch of its own.
    """
    batch: list[_Prepared] = []
    for entry in sorted(entries, key=lambda entry: -entry.size.total):
        if batch and (len(batch) + 1) * (batch[0].size.total + max_tokens) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch
