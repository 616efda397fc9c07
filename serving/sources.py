"""Open the images and videos that a request names: the only way from a request to a file."""

from __future__ import annotations

import base64
import binascii
import re
import weakref
from pathlib import Path

from espresso import media
from espresso.errors import MediaError
from espresso.media import Limits, Media
from espresso.media.fetch import fetch, local_path, public
from espresso.media.hosts import AllowedHosts
from espresso.media.segment import split_segment
from serving.settings import Settings
from serving.uploads import PREFIX, Uploads

DOWNLOAD_S = 60.0
"""Seconds that a download may take."""


class Sources:
    """Opens uploads, data URLs, files in allowed folders, and URLs of allowed hosts.

    Args:
        settings: the allowed folders and hosts, and the limits.
        uploads: the uploads.
    """

    def __init__(self, settings: Settings, uploads: Uploads) -> None:
        self._limits: Limits = settings.limits
        self._folders = [folder.resolve() for folder in settings.folders]
        self._hosts = AllowedHosts(settings.hosts, settings.networks)
        self._uploads = uploads

    def open(self, source: str) -> Media:
        """Open what a request names.

        Args:
            source: the id of an upload, a data URL, a path or file: URL, or an http(s) URL. A
                segment selects a part of a video (`#t=4,6`), except of a data URL.

        Raises:
            MediaError: it is not allowed, is not an image or video, or exceeds the limits.
            UnknownFileError: there is no such upload.
        """
        scheme = source[:8].lower()
        if scheme.startswith("data:"):
            return media.open(self._decode(source), limits=self._limits)
        file, segment = split_segment(source)
        if re.fullmatch(PREFIX + "[0-9a-f]+", file):
            path, upload = self._uploads.find(file)
            return media.open(f"{path}{segment}", limits=self._limits, name=upload.filename)
        if scheme.startswith(("http://", "https://")):
            return self._download(file, segment)
        return media.open(f"{self._local(file)}{segment}", limits=self._limits)

    def _decode(self, url: str) -> bytes:
        """Return the content of a data URL."""
        head, comma, content = url.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise MediaError(f"{head[:60]}: this data URL is not in base64. Use data:video/mp4;base64,... or upload the file.")
        self._limits.check_bytes(len(content) * 3 // 4 - 2)
        try:
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            raise MediaError(f"{head[:60]}: this data URL is not valid base64. Encode the file again.") from None

    def _local(self, source: str) -> Path:
        """Return the real path of a file in an allowed folder, links and `..` resolved.

        The error is the same for all files outside the folders, whether or not they exist.
        """
        try:
            path = (local_path(source) or Path(source)).resolve()
        except (OSError, ValueError, RuntimeError):  # a NUL character, a circle of links
            path = Path("/")
        if not any(path.is_relative_to(folder) for folder in self._folders):
            raise MediaError(
                f"{public(source)}: not in a folder of this server. Upload the file, or start the server with --allow-media."
            )
        return path

    def _download(self, url: str, segment: str) -> Media:
        path = fetch(url, max_bytes=self._limits.max_bytes, total_timeout_s=DOWNLOAD_S, hosts=self._hosts)
        try:
            opened = media.open(f"{path}{segment}", limits=self._limits, name=public(url))
        except BaseException:
            path.unlink()
            raise
        weakref.finalize(opened, path.unlink, missing_ok=True)
        return opened
