"""Sentence embeddings, to find the text closest in meaning (VideoEspresso embeds with BGE-M3)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from espresso.errors import ModelError, ProfileError
from espresso.models.hub import LazyModel
from espresso.profiles import LocalEmbedder, ServerEmbedder
from espresso.profiles.address import check_key, without_credentials
from espresso.profiles.weights import identity

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
        self._pooling = role.pooling
        self._model = LazyModel(role.model, role.download, _load, "[embedder]")

    async def load(self) -> None:
        """Load the model; see `Embedder.load`."""
        await asyncio.to_thread(self._model.get)

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors; see `Embedder.embed`."""
        return await asyncio.to_thread(self._embed, list(texts))

    def close(self) -> None:
        """Free the weights; the next use loads them again."""
        self._model.close()

    def _embed(self, texts: list[str]) -> np.ndarray:
        import torch  # noqa: PLC0415 - takes seconds
        from torch.nn.functional import normalize  # noqa: PLC0415

        tokenizer, model = self._model.get()
        with torch.inference_mode():
            inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(model.device)
            hidden = model(**inputs).last_hidden_state
            if self._pooling == "first":
                pooled = hidden[:, 0]
            else:
                mask = inputs["attention_mask"].unsqueeze(-1)
                pooled = (hidden * mask).sum(1) / mask.sum(1)
            vectors: np.ndarray = normalize(pooled.float()).cpu().numpy()
            return vectors


def _load(folder: str) -> tuple[Any, Any]:
    """Return tokenizer and model."""
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - takes seconds

    return AutoTokenizer.from_pretrained(folder, padding_side="right"), AutoModel.from_pretrained(folder, weights_only=True)


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
