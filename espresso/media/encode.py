"""Write pixels: video files, and pictures as text for prompts and reports."""

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

DRAWN = 1024


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float, *, comment: str | None = None) -> None:
    """Write frames as H.264 (yuv420p, index at the front of the file, so that it plays while it loads).

    frames: (height, width, 3) uint8 RGB each, all of one size, even sides; a generator will do, it is read frame by frame.
    fps: frames per second. comment: text for the file's metadata, which `Media.comment` gives back.
    The file appears whole or not at all: it is written beside `path` and then renamed. The folder must exist.
    Raises MediaError if there is no frame, or one has another size or an odd side.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".mp4")
    os.close(handle)
    draft = Path(name)
    try:
        _encode(draft, path, frames, fps, comment)
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _encode(draft: Path, path: Path, frames: Iterable[np.ndarray], fps: float, comment: str | None) -> None:
    with av.open(str(draft), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        stream = None
        for frame in frames:
            height, width = frame.shape[:2]
            if stream is None:
                if height % 2 or width % 2:
                    raise MediaError(f"{path}: frames are {width}x{height}, and H.264 needs even sides. Pad them by a pixel.")
                rate = Fraction(fps).limit_denominator(1001)
                stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.thread_count = 1
            if (height, width) != (stream.height, stream.width):
                raise MediaError(
                    f"{path}: a frame is {width}x{height} after one of {stream.width}x{stream.height}. Give frames of one size."
                )
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        if stream is None:
            raise MediaError(f"{path}: there is no frame to write. Give at least one.")
        container.mux(stream.encode())


def data_url(pixels: np.ndarray) -> str:
    """Encode (height, width, 3) uint8 RGB as a `data:` URL: drawings and tiny pictures as PNG, all else as JPEG of high quality.

    What has at most `DRAWN` colours is smaller without loss; a photograph is a third as JPEG (quality 92, full colour
    resolution), and encoded twenty times as fast.
    """
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    if image.getcolors(DRAWN):
        kind, options = "png", {}
    else:
        kind, options = "jpeg", {"quality": 92, "subsampling": 0}
    image.save(buffer, kind, **options)
    return _url(kind, buffer)


def thumbnail_url(pixels: np.ndarray) -> str:
    """Encode (height, width, 3) uint8 RGB, a small picture among thousands, as a `data:` URL: WebP of fair quality.

    At 160 pixels it takes 1.5 to 1.9 KB, half of what JPEG does, whose tables alone are 0.6 KB.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "webp", quality=70)
    return _url("webp", buffer)


def _url(kind: str, content: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
