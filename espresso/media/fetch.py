"""Download an image or video from the web, within limits."""

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
SILENCE_S = 20.0
TOTAL_S = 600.0


def fetch(url: str, *, max_bytes: int = MAX_BYTES, silence_s: float = SILENCE_S, total_s: float = TOTAL_S) -> Path:
    """Stream `url` into a temporary file, which is the caller's to delete.

    max_bytes: a larger file is refused. silence_s: longest wait for the server's next word. total_s: longest download.
    Raises MediaError if the server fails, falls silent, takes too long or sends too much.
    """
    handle, name = tempfile.mkstemp(prefix="espresso-")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _stream(url, file.write, max_bytes, silence_s, time.monotonic() + total_s)
    except TimeoutError:
        path.unlink()
        raise MediaError(
            f"{url}: the server fell silent or took over {total_s:g} s. Download it by hand and give the file."
        ) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        path.unlink()
        raise MediaError(f"{url}: cannot be downloaded ({error}). Check the address.") from None
    except BaseException:
        path.unlink()
        raise
    return path


def _stream(url: str, write: Callable[[bytes], object], max_bytes: int, silence_s: float, deadline: float) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "espresso"})
    with urllib.request.urlopen(request, timeout=silence_s) as reply:
        size = 0
        while block := reply.read1(1 << 20):
            size += len(block)
            if size > max_bytes:
                raise MediaError(f"{url}: larger than {max_bytes / 1024**2:,.0f} MB. Download it by hand and give the file.")
            if time.monotonic() > deadline:
                raise TimeoutError
            write(block)
