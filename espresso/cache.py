"""What is worth keeping: which frames of a clip were sampled, what the captioner saw in them, and what a judge replied.

The store is SQLite through `diskcache`, safe for threads and for processes at the same time, written as JSON (nothing is
unpickled). It lies in the user's cache folder, or where ESPRESSO_CACHE says, and lets the oldest entries go at 1 GB.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import diskcache

_SIZE_LIMIT = 2**30  # bytes


class CaptionKey(NamedTuple):
    """What a caption depends on.

    digest: of the visual. frame: native frame index, and size: px of the longest side, which is all of the sampling that the
    captioner sees, so that another plan that meets the same frame pays nothing. model: its name. prompt: its template's hash.
    """

    digest: str
    frame: int
    size: int
    model: str
    prompt: str


class Kept(NamedTuple):
    """A caption, and the tokens that it cost."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_visual: int = 0


class SamplingKey(NamedTuple):
    """What a sampling depends on: the visual's digest, the plan as a string, and the frame size in px."""

    digest: str
    plan: str
    size: int


class ReplyKey(NamedTuple):
    """What a judge's reply depends on.

    judge: its name, which tells its weights apart. prompt: SHA-256 of all that it was shown. seed: of its sampling.
    """

    judge: str
    prompt: str
    temperature: float
    seed: int


class Cache:
    """Captions, samplings and judges' replies on disk. A store that cannot be used is as good as empty; `trouble` says why."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open `folder`, the user's cache folder by default; it is made where it is missing."""
        self.trouble: str | None = None
        self._store: diskcache.Cache | None = None
        with self._softly():
            folder = folder or default_folder()
            self._store = diskcache.Cache(str(folder), disk=diskcache.JSONDisk, size_limit=_SIZE_LIMIT)

    def captions(self, keys: Sequence[CaptionKey]) -> dict[CaptionKey, Kept]:
        """Look up the captions known among `keys`."""
        found = {key: self._get(["captioned", *key]) for key in keys}
        return {key: Kept(*kept) for key, kept in found.items() if kept is not None}

    def keep_captions(self, captions: Mapping[CaptionKey, Kept]) -> None:
        """Keep captions."""
        for key, kept in captions.items():
            self._set(["captioned", *key], kept)

    def sampling(self, key: SamplingKey) -> Any:
        """Look up the JSON value that `keep_sampling` was given for `key`, or None."""
        return self._get(["sampling", *key])

    def keep_sampling(self, key: SamplingKey, sampling: Any) -> None:
        """Keep a sampling, as a JSON value."""
        self._set(["sampling", *key], sampling)

    def reply(self, key: ReplyKey) -> str | None:
        """Look up a judge's reply, or None."""
        return self._get(["reply", *key])

    def keep_reply(self, key: ReplyKey, text: str) -> None:
        """Keep a judge's reply."""
        self._set(["reply", *key], text)

    def close(self) -> None:
        """Give back the connection to the store."""
        if self._store is not None:
            self._store.close()

    def _get(self, key: list[str | int | float]) -> Any:
        with self._softly():
            return self._store.get(key) if self._store is not None else None

    def _set(self, key: list[str | int | float], value: Any) -> None:
        with self._softly():
            if self._store is not None:
                self._store.set(key, value)

    @contextmanager
    def _softly(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, sqlite3.Error, diskcache.Timeout, zlib.error, ValueError) as error:
            self._store = None
            self.trouble = f"the cache cannot be used ({error}); set ESPRESSO_CACHE to a folder that can be written"


def default_folder() -> Path:
    """ESPRESSO_CACHE, or `espresso` in the platform's folder for caches."""
    if chosen := os.environ.get("ESPRESSO_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "espresso"
