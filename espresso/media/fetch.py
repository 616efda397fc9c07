"""Download an image or video, with limits on size and time."""

from __future__ import annotations

import http.client
import os
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from espresso.errors import MediaError

MAX_BYTES = 2 * 1024**3
"""Default limit of the file size in bytes."""

READ_TIMEOUT_S = 20.0
"""Default timeout in seconds of a single read from the server."""

TOTAL_TIMEOUT_S = 600.0
"""Default timeout in seconds of the whole download."""


def fetch(
    url: str, *, max_bytes: int = MAX_BYTES, read_timeout_s: float = READ_TIMEOUT_S, total_timeout_s: float = TOTAL_TIMEOUT_S
) -> Path:
    """Download a URL to a temporary file, which the caller deletes.

    Args:
        url: an http or https address.
        max_bytes: maximum size of the file.
        read_timeout_s: maximum wait in seconds for the next bytes.
        total_timeout_s: maximum time in seconds of the download.

    Raises:
        MediaError: the download fails, times out or exceeds the size limit.
    """
    handle, name = tempfile.mkstemp(prefix="espresso-")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _stream(url, file.write, max_bytes, read_timeout_s, time.monotonic() + total_timeout_s)
    except TimeoutError:
        path.unlink()
        raise MediaError(
            f"{url}: the download timed out (limits: {read_timeout_s:g} s per read, {total_timeout_s:g} s in total). "
            "Download it yourself and give the file."
        ) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        path.unlink()
        raise MediaError(f"{url}: cannot download ({error}). Check the address.") from None
    except BaseException:
        path.unlink()
        raise
    return path


def _stream(url: str, write: Callable[[bytes], object], max_bytes: int, read_timeout_s: float, deadline: float) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "espresso"})
    with urllib.request.urlopen(request, timeout=read_timeout_s) as reply:
        size = 0
        while block := reply.read1(1 << 20):
            size += len(block)
            if size > max_bytes:
                raise MediaError(f"{url}: larger than {max_bytes / 1024**2:,.0f} MB. Download it yourself and give the file.")
            if time.monotonic() > deadline:
                raise TimeoutError
            write(block)
