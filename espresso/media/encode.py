"""Encode pixels: video files, and pictures as `data:` URLs for prompts and reports."""

from __future__ import annotations

import base64
import io
import os
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from espresso.errors import MediaError

PNG_COLOURS = 1024
"""Maximum number of colours of a picture that is encoded as PNG: drawings, not photographs."""


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float, *, comment: str | None = None) -> None:
    """Write an H.264 file (yuv420p) with its index at the front, for streaming.

    The file is written to a temporary file next to `path` and then renamed.

    Args:
        path: the file to write. Its folder must exist.
        frames: uint8 RGB of shape (height, width, 3) each, all of one size, with even sides. May be
            a generator.
        fps: frames per second.
        comment: comment tag of the file, which `Media.comment` returns.

    Raises:
        MediaError: there are no frames, or a frame has a different size or an odd side.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".mp4")
    os.close(handle)
    temporary = Path(name)
    try:
        _encode(temporary, path, frames, fps, comment)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _encode(temporary: Path, path: Path, frames: Iterable[np.ndarray], fps: float, comment: str | None) -> None:
    with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        stream = None
        for frame in frames:
            height, width = frame.shape[:2]
            if stream is None:
                if height % 2 or width % 2:
                    raise MediaError(f"{path}: frames are {width}x{height}, but H.264 needs even sides. Pad them by a pixel.")
                rate = Fraction(fps).limit_denominator(1001)
                stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.thread_count = 1
            if (height, width) != (stream.height, stream.width):
                raise MediaError(
                    f"{path}: a frame is {width}x{height}, the first one {stream.width}x{stream.height}. Use frames of one size."
                )
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        if stream is None:
            raise MediaError(f"{path}: no frames to write. Give at least one.")
        container.mux(stream.encode())


def data_url(pixels: np.ndarray) -> str:
    """Encode a picture as a `data:` URL: PNG for drawings and tiny pictures, else JPEG.

    A picture of at most `PNG_COLOURS` colours is smaller as PNG, which is lossless. A photograph as
    JPEG (quality 92, full chroma resolution) takes a third of the size and a twentieth of the time.

    Args:
        pixels: uint8 RGB of shape (height, width, 3).
    """
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    if image.getcolors(PNG_COLOURS):
        kind, options = "png", {}
    else:
        kind, options = "jpeg", {"quality": 92, "subsampling": 0}
    image.save(buffer, kind, **options)
    return _url(kind, buffer)


def thumbnail_url(pixels: np.ndarray) -> str:
    """Encode a small picture as a `data:` URL: WebP of medium quality.

    At 160 pixels it takes 1.5 to 1.9 KB, half the size of a JPEG (JPEG tables alone take 0.6 KB).

    Args:
        pixels: uint8 RGB of shape (height, width, 3).
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "webp", quality=70)
    return _url("webp", buffer)


def _url(kind: str, content: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
