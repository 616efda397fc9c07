"""Sentence embeddings, to find the text closest in meaning (VideoEspresso embeds with BGE-M3)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from pickle import UnpicklingError
from typing import Any, Protocol

import numpy as np

from espresso.errors import ModelError, ProfileError
from espresso.forks import Lock
from espresso.models.hub import LOADING, fetch, no_progress_bars
from espresso.profiles import LocalEmbedder, ServerEmbedder
from espresso.profiles.address import check_key, without_credentials
from espresso.profiles.weights import identity

log = logging.getLogger(__name__)
_TIMEOUT_S = 120.0


class Embedder(Protocol):
    """Maps texts to vectors."""

    name: str
    """Identifies the model and its weights."""

    async def load(self) -> None:
        """Check that `embed` works, so that an error appears before a run starts.

        A local model is loaded; a server embeds one word.

        Raises:
            ModelError: the model cannot be loaded or reached.
            ProfileError: the API key is not set in the environment.
        """
        ...

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors, shape (len(texts), dimensions), float32: dot products are cosines.

        Raises:
            ModelError: the model cannot be loaded or reached.
        """
        ...

    def close(self) -> None:
        """Free the weights; the next use loads them again."""
        ...


def make_embedder(role: LocalEmbedder | ServerEmbedder) -> Embedder:
    """Create a profile's embedder. Nothing is loaded or contacted before the first use."""
    return TransformersEmbedder(role) if isinstance(role, LocalEmbedder) else OpenAIEmbedder(role)


class TransformersEmbedder:
    """A model of the transformers library in this process, loaded at the first use."""

    def __init__(self, role: LocalEmbedder) -> None:
        self.name = identity(role.model)
        self._role = role
        self._loaded: tuple[Any, Any] | None = None
        self._lock = Lock()

    async def load(self) -> None:
        """Load the model; see `Embedder.load`."""
        await asyncio.to_thread(self._load)

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors; see `Embedder.embed`."""
        return await asyncio.to_thread(self._embed, list(texts))

    def close(self) -> None:
        """Free the weights; the next use loads them again."""
        self._loaded = None

    def _embed(self, texts: list[str]) -> np.ndarray:
        import torch  # noqa: PLC0415 - takes seconds
        from torch.nn.functional import normalize  # noqa: PLC0415

        tokenizer, model = self._load()
        with torch.inference_mode():
            inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
            hidden = model(**inputs).last_hidden_state
            if self._role.pooling == "first":
                pooled = hidden[:, 0]
            else:
                mask = inputs["attention_mask"].unsqueeze(-1)
                pooled = (hidden * mask).sum(1) / mask.sum(1)
            vectors: np.ndarray = normalize(pooled.float()).numpy()
            return vectors

    def _load(self) -> tuple[Any, Any]:
        """Return tokenizer and model; the first call loads them."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._read()
            return self._loaded

    def _read(self) -> tuple[Any, Any]:
        folder = fetch(self._role.model, self._role.download)
        from safetensors import SafetensorError  # noqa: PLC0415
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - takes seconds

        try:
            with LOADING, no_progress_bars():
                tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right")
                model = AutoModel.from_pretrained(folder, weights_only=True).eval()
        except (OSError, ValueError, RuntimeError, ImportError, UnpicklingError, SafetensorError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(
                f"{self._role.model}: cannot load this embedder ({reason}). "
                "Name another model in [embedder] of the profile, such as BAAI/bge-small-en-v1.5."
            ) from error
        log.info("loaded the embedder %s", self.name)
        return tokenizer, model


class OpenAIEmbedder:
    """A model behind an OpenAI-compatible server. Each request opens its own connection."""

    def __init__(self, role: ServerEmbedder) -> None:
        self.name = role.model
        self._role = role

    async def load(self) -> None:
        """Embed one word; see `Embedder.load`."""
        await self.embed(["word"])

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors; see `Embedder.embed`.

        Raises:
            ProfileError: the API key is not set in the environment, or cannot be sent.
        """
        import openai  # noqa: PLC0415 - takes a second

        from espresso.models import openai_connection  # noqa: PLC0415

        variable, address = self._role.api_key_env, without_credentials(self._role.base_url)
        key = os.environ.get(variable) if variable else None
        if variable and not key:
            raise ProfileError(f"{self.name} needs an API key. Set the environment variable {variable}.")
        try:
            check_key(key or "", f"the environment variable {variable}")
        except ValueError as error:
            raise ProfileError(f"{self.name}: {error}.") from error

        def failed(reason: str) -> ModelError:
            reason = reason.replace(key, "***") if key else reason
            return ModelError(
                f"{address}: the request for embeddings of {self.name} failed ({reason}). "
                "Correct [embedder] in the profile, or start its server."
            )

        try:
            async with openai_connection.connect(self._role.base_url, api_key=key, timeout=_TIMEOUT_S, retries=2) as client:
                reply = await client.embeddings.with_raw_response.create(
                    model=self.name, input=list(texts), encoding_format="float"
                )
        except openai.APITimeoutError as error:
            raise failed(f"no reply within {_TIMEOUT_S:g} s") from error
        except openai.APIConnectionError as error:
            raise failed(f"could not connect: {openai_connection.connection_fault(error, self._role.base_url)[0]}") from error
        except openai.APIStatusError as error:
            words = openai_connection.server_words(error.response.text) or error.response.reason_phrase
            raise failed(f"status {error.status_code}: {words}") from error
        vectors = _vectors(reply.http_response.text, len(texts))
        if vectors is None:
            raise failed(f"no embeddings in the reply: {openai_connection.server_words(reply.http_response.text)[:60]!r}")
        return vectors

    def close(self) -> None:
        """Do nothing: no connection outlives its request."""


def _vectors(body: str, count: int) -> np.ndarray | None:
    """Return the unit vectors of a server's reply, (count, dimensions); None if it has no such."""
    try:
        data = json.loads(body)["data"]
        vectors = np.array([each["embedding"] for each in sorted(data, key=lambda each: each.get("index") or 0)], np.float32)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if vectors.ndim != 2 or len(vectors) != count or not np.isfinite(vectors).all():
        return None
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
