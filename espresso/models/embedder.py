"""Sentences as vectors: which of several texts means most nearly the same as another (VideoEspresso embeds with BGE-M3)."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from espresso.errors import ModelError, ProfileError
from espresso.models.hub import fetch
from espresso.profiles import LocalEmbedder, ServerEmbedder
from espresso.profiles.weights import identity


class Embedder(Protocol):
    """Texts to vectors. `name` tells its weights apart."""

    name: str

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) float32, each row of length one, so that a product of two is their cosine. Raises ModelError."""
        ...


def embedding(role: LocalEmbedder | ServerEmbedder) -> Embedder:
    """Bring a profile's embedder to hand; nothing is loaded or asked before it is used."""
    return InProcess(role) if isinstance(role, LocalEmbedder) else Served(role)


class InProcess:
    """A transformers model in this process, loaded at its first use."""

    def __init__(self, role: LocalEmbedder) -> None:
        self.name = identity(role.model)
        self._role = role
        self._loaded: tuple[Any, Any] | None = None
        self._one_at_a_time = threading.Lock()

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """See `Embedder`."""
        return await asyncio.to_thread(self._embed, list(texts))

    def _embed(self, texts: list[str]) -> np.ndarray:
        import torch  # noqa: PLC0415 - takes seconds
        from torch.nn.functional import normalize  # noqa: PLC0415

        with self._one_at_a_time, torch.inference_mode():
            tokens, model = self._model()
            read = tokens(texts, padding=True, truncation=True, return_tensors="pt")
            hidden = model(**read).last_hidden_state
            if self._role.pooling == "first":
                pooled = hidden[:, 0]
            else:
                there = read["attention_mask"].unsqueeze(-1)
                pooled = (hidden * there).sum(1) / there.sum(1)
            vectors: np.ndarray = normalize(pooled.float()).numpy()
            return vectors

    def _model(self) -> tuple[Any, Any]:
        if self._loaded is None:
            folder = fetch(self._role.model, self._role.download)
            from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - takes seconds

            from espresso.models.transformers_model import LOADING  # noqa: PLC0415

            try:
                with LOADING:
                    tokens = AutoTokenizer.from_pretrained(folder, padding_side="right")
                    self._loaded = tokens, AutoModel.from_pretrained(folder).eval()
            except (OSError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise ModelError(f"{self._role.model}: this embedder cannot be loaded ({reason}).") from error
        return self._loaded


class Served:
    """An OpenAI-compatible service of embeddings."""

    def __init__(self, role: ServerEmbedder) -> None:
        self.name = role.model
        self._role = role

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """See `Embedder`. Raises ProfileError where its key is not set."""
        import openai  # noqa: PLC0415 - takes a second

        key = os.environ.get(self._role.api_key_env) if self._role.api_key_env else "none"
        if not key:
            raise ProfileError(f"{self.name} needs a key. Put it into the environment as {self._role.api_key_env}.")
        try:
            async with openai.AsyncOpenAI(base_url=self._role.base_url, api_key=key) as client:
                reply = await client.embeddings.create(model=self.name, input=list(texts), encoding_format="float")
        except openai.OpenAIError as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{self._role.base_url}: {self.name} gave no embeddings ({reason}).") from error
        vectors = np.array([each.embedding for each in reply.data], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
