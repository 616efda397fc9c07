"""Uploaded images and videos, kept in a temporary folder until the server stops."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Literal

from espresso import media
from espresso.media import Limits
from espresso.schema import Record
from serving.errors import UnknownFileError

PREFIX = "file-"


class UploadedFile(Record):
    """An upload, as in OpenAI's files API."""

    id: str
    """The name to use in requests. The same content has the same id."""

    object: Literal["file"] = "file"

    bytes: int
    """Size of the file."""

    created_at: int
    """Unix time in seconds."""

    filename: str
    """The client's name of the file."""

    purpose: str
    """What the client said it is for; not used."""


class DeletedFile(Record):
    """That an upload is deleted, as in OpenAI's files API."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class Uploads:
    """Uploads in a folder of their own.

    Args:
        limits: limits of each file.
        max_bytes: bytes of all files together; beyond it, the oldest are deleted.
    """

    def __init__(self, limits: Limits, max_bytes: int) -> None:
        self._limits, self._max_bytes = limits, max_bytes
        self._folder = Path(tempfile.mkdtemp(prefix="espresso-uploads-"))
        self._files: dict[str, UploadedFile] = {}
        self._lock = threading.Lock()

    def add(self, content: Any, filename: str, purpose: str) -> UploadedFile:
        """Store a file after opening it once.

        Args:
            content: the open file, at its start.
            filename: the client's name of the file.
            purpose: what the client says it is for.

        Raises:
            MediaError: it is not an image or video, is damaged or exceeds the limits.
        """
        digest = hashlib.file_digest(content, "sha256").hexdigest()
        size = content.tell()
        content.seek(0)
        name = PREFIX + digest[:32]
        filename = filename[:200] or name
        handle, temporary = tempfile.mkstemp(dir=self._folder)
        try:
            with open(handle, "wb") as file:
                shutil.copyfileobj(content, file)
            media.open(Path(temporary), limits=self._limits, name=filename)
            with self._lock:
                Path(temporary).rename(self._folder / name)
                self._files.pop(name, None)
                self._files[name] = UploadedFile(
                    id=name, bytes=size, created_at=int(time.time()), filename=filename, purpose=purpose
                )
                self._evict()
        finally:
            Path(temporary).unlink(missing_ok=True)
        return self._files[name]

    def _evict(self) -> None:
        while sum(file.bytes for file in self._files.values()) > self._max_bytes and len(self._files) > 1:
            oldest = next(iter(self._files))
            del self._files[oldest]
            (self._folder / oldest).unlink(missing_ok=True)

    def find(self, name: str) -> tuple[Path, UploadedFile]:
        """Return the path and the record of an upload. Raises UnknownFileError."""
        file = self._files.get(name)
        if file is None:
            raise UnknownFileError(f"{name[:80]}: no such file. Upload it first (POST /v1/files).")
        return self._folder / name, file

    def all(self) -> list[UploadedFile]:
        """Return all uploads, the oldest first."""
        return list(self._files.values())

    def delete(self, name: str) -> DeletedFile:
        """Delete an upload. Raises UnknownFileError."""
        path, _ = self.find(name)
        with self._lock:
            self._files.pop(name, None)
            path.unlink(missing_ok=True)
        return DeletedFile(id=name)

    def close(self) -> None:
        """Delete all uploads and their folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
