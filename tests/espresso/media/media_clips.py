"""Clips for the tests: numbered frames, arbitrary timestamps and display matrices."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "video"


def numbered(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Return frames that show their number as eight black or white columns.

    `number_of` reads it back, even after lossy encoding.
    """
    frames = []
    for number in range(count):
        bits = [255 if number >> bit & 1 else 0 for bit in range(8)]
        row = np.repeat(np.array(bits, np.uint8), width // 8)
        frames.append(np.broadcast_to(row[None, :, None], (height, width, 3)).copy())
    return frames


def number_of(frame: np.ndarray) -> int:
    """Read the number of a frame of `numbered`."""
    columns = frame.astype(float).mean(axis=(0, 2)).reshape(8, -1).mean(axis=1)
    return int(sum((column > 127) << bit for bit, column in enumerate(columns)))


def mux(
    path: Path,
    frames: list[np.ndarray],
    timestamps: list[int],
    *,
    turn: int = 0,
    options: dict[str, str] | None = None,
    codec: str = "libx264",
    aspect: Fraction | None = None,
) -> None:
    """Write frames at arbitrary ascending timestamps in hundredths of a second."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn:
            stream.set_display_rotation(turn)
        for pixels, timestamp in zip(frames, timestamps, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = timestamp, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Replace the display matrix of the first track of an MP4 file; 65536 is one."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def quadrants(width: int = 64, height: int = 48) -> np.ndarray:
    """Return a picture whose four quarters differ: every way to turn or mirror it shows."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = (250, 250, 250)
    picture[: height // 2, width // 2 :] = (220, 20, 20)
    picture[height // 2 :, : width // 2] = (20, 20, 220)
    return picture
