"""The cache on disk: sampled frame times, captions, their embeddings and judge replies.

The cache is a SQLite database (`diskcache`) that threads and processes can use at the same time.
Entries are JSON; nothing is unpickled. It is kept in the user's cache folder or in ESPRESSO_CACHE,
and evicts the oldest entries beyond 1 GB.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import diskcache
import numpy as np
import platformdirs

from espresso.replies import without_thoughts

SIZE_LIMIT = 2**30
"""Size in bytes beyond which the oldest entries are evicted."""

_OLD_CAPTION_TOKENS = 128
"""Length at which versions without a check cut captions off, in tokens."""
_LETTERS_PER_TOKEN = 10
"""More letters than a token has on average; a server that reports fewer tokens does not count."""


class CaptionKey(NamedTuple):
    """What a caption depends on; sampling plans that pick the same frame share its caption."""

    digest: str
    """SHA-256 of the visual."""

    frame: int
    """Index of the frame in the visual."""

    size: int
    """Longest side in pixels at which the captioner sees the frame."""

    model: str
    """Name of the captioner, which identifies its weights."""

    prompt: str
    """Hash of the prompt template."""

    view: str = ""
    """The profile's options of the captioner's image processor, as JSON; empty if it has none."""


class CachedCaption(NamedTuple):
    """A caption and the tokens that it cost."""

    text: str
    """The caption."""

    tokens_in: int = 0
    """Tokens of the prompt, visual ones included."""

    tokens_out: int = 0
    """Tokens of the reply."""

    tokens_visual: int = 0
    """Visual tokens of the prompt."""


class SamplingKey(NamedTuple):
    """What a sampling depends on."""

    digest: str
    """SHA-256 of the visual."""

    plan: str
    """The sampling plan as a string, such as "adaptive-16"."""

    size: int
    """Longest side of the frames in pixels."""


class EmbeddingKey(NamedTuple):
    """What an embedding depends on."""

    model: str
    """Name of the embedder, which identifies its weights."""

    text: str
    """SHA-256 of the text."""


class ReplyKey(NamedTuple):
    """What a judge's reply depends on."""

    judge: str
    """Name of the judge, which identifies its weights."""

    prompt: str
    """SHA-256 of the whole prompt, pictures included."""

    temperature: float
    """Sampling temperature."""

    seed: int
    """Sampling seed."""


class Cache:
    """Captions, embeddings, samplings and judge replies on disk.

    A cache that cannot be read or written behaves as if it were empty; it never raises.

    Args:
        folder: the folder of the cache, created if missing. None is `default_folder()`.
    """

    error_note: str | None
    """Why the cache cannot be used and how to fix it; None if it works."""

    def __init__(self, folder: Path | None = None) -> None:
        self.error_note = None
        self._store: diskcache.Cache | None = None
        with self._disable_on_error():
            folder = folder or default_folder()
            self._store = diskcache.Cache(str(folder), disk=diskcache.JSONDisk, size_limit=SIZE_LIMIT)

    def captions(self, keys: Sequence[CaptionKey]) -> dict[CaptionKey, CachedCaption]:
        """Return the cached captions among `keys`."""
        return {key: caption for key in keys if (caption := self._caption(key))}

    def put_captions(self, captions: Mapping[CaptionKey, CachedCaption]) -> None:
        """Cache captions, which are complete replies."""
        for key, caption in captions.items():
            self._set(["caption", *key], caption)

    def sampling(self, key: SamplingKey) -> Any:
        """Return the JSON value that was passed to `put_sampling`, or None if there is none."""
        return self._get(["sampling", *key])

    def put_sampling(self, key: SamplingKey, sampling: Any) -> None:
        """Cache a sampling, a JSON value."""
        self._set(["sampling", *key], sampling)

    def embeddings(self, keys: Sequence[EmbeddingKey]) -> dict[EmbeddingKey, np.ndarray]:
        """Return the cached embeddings among `keys`, float32."""
        found = {key: self._get(["embedding", *key]) for key in dict.fromkeys(keys)}
        return {key: np.frombuffer(b64decode(text), np.float16).astype(np.float32) for key, text in found.items() if text}

    def put_embeddings(self, embeddings: Mapping[EmbeddingKey, np.ndarray]) -> None:
        """Cache embeddings, in half precision."""
        for key, vector in embeddings.items():
            self._set(["embedding", *key], b64encode(vector.astype(np.float16).tobytes()).decode())

    def reply(self, key: ReplyKey) -> str | None:
        """Return a judge's cached reply, or None if there is none."""
        return self._get(["reply", *key])

    def put_reply(self, key: ReplyKey, text: str) -> None:
        """Cache a judge's reply."""
        self._set(["reply", *key], text)

    def close(self) -> None:
        """Close the database connection."""
        if self._store is not None:
            self._store.close()

    def _caption(self, key: CaptionKey) -> CachedCaption | None:
        """Return a cached caption.

        Earlier versions cached thoughts and replies that were empty or cut off too. Of their
        entries, those count that were complete for certain.
        """
        value = self._get(["caption", *key])
        if value is not None:
            return CachedCaption(*value)
        value = self._get(["captioned", *(key if key.view else key[:-1])])
        if value is None:
            return None
        caption = CachedCaption(*value)
        whole = len(caption.text) / _LETTERS_PER_TOKEN < caption.tokens_out < _OLD_CAPTION_TOKENS
        return caption if whole and caption.text and without_thoughts(caption.text).text == caption.text else None

    def _get(self, key: list[str | int | float]) -> Any:
        with self._disable_on_error():
            return self._store.get(key) if self._store is not None else None

    def _set(self, key: list[str | int | float], value: Any) -> None:
        with self._disable_on_error():
            if self._store is not None:
                self._store.set(key, value)

    @contextmanager
    def _disable_on_error(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, sqlite3.Error, diskcache.Timeout, zlib.error, ValueError) as error:
            self._store = None
            self.error_note = f"cannot use the cache ({error}); set ESPRESSO_CACHE to a writable folder"


def default_folder() -> Path:
    """Return ESPRESSO_CACHE, else `espresso` in the platform's cache folder.

    A user without a home folder, or with one that is read-only, as in containers, gets a folder
    among the temporary files.
    """
    if chosen := os.environ.get("ESPRESSO_CACHE"):
        return Path(os.path.expanduser(chosen))
    with suppress(RuntimeError):  # platformdirs knows no home folder
        folder = platformdirs.user_cache_path("espresso", appauthor=False, opinion=False)
        existing = next((each for each in (folder, *folder.parents) if os.path.exists(each)), folder)
        if folder.is_absolute() and os.access(existing, os.W_OK | os.X_OK):
            return folder
    return Path(tempfile.gettempdir()) / f"espresso-{os.getuid()}"
