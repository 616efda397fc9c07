"""The decoder: a program that indexes and decodes video files for `espresso.media.process`.

FFmpeg reads untrusted files. It runs in a process of its own, so a file that makes it hang or
crash does not take the caller down. The program imports neither espresso nor NumPy and starts in
about 0.1 s (importing NumPy alone takes longer).

Protocol: pickled requests `(command, path, index or None, ...)` on standard input, until it is
closed. Pickled messages on standard output: `("ready",)` at the start, `("tick",)` while the
decoder works, `("frame", position, width, height, row bytes, quarter turns)` followed by the raw
RGB rows, and finally `("done", result)`, or `("error", message)` if the file cannot be decoded.

There are two readers. PyAV, driven packet by packet, decodes only what the requested frames depend
on: it skips everything between the last requested frame of a group of pictures and the next key
frame, and frames that no other frame refers to. decord decodes everything in C++, which is faster
if most frames are requested. `benchmarks/decode.py` compares them; `espresso.media.clip` chooses.
"""

from __future__ import annotations

import os
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from multiprocessing.connection import Connection
from typing import Any

import av

FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,gif,ivf,obu,av1,h264,hevc,vvc,m4v,h263,mjpeg,nut,mxf,rm,wtv,dv,apng,"
    "yuv4mpegpipe,mp3,wav,flac,aac,aiff"
)
"""Formats that FFmpeg may detect: video, and audio for a better error message.

Text is excluded, and so are playlists, because they refer to other files.
"""

TICK_S = 0.5
"""Interval of the "tick" messages in seconds."""

MULTITHREADED_PIXELS = 1280 * 720
"""Frame size from which several decoding threads beat one (measured on real clips and at 1080p)."""

SKIPPING_CODECS = ("h264", "mpeg4", "mpeg2video", "vp8")
"""Codecs that skip exactly the non-reference frames.

HEVC frames may be referenced from a higher temporal layer. dav1d reads the flag late and skips
other frames.
"""

Tick = Callable[[], None]

DecodedFrame = tuple[int, Any, int]
"""Position of a frame, the RGB frame as PyAV holds it, and its remaining quarter turns."""

_NO_FRAMES = "none of its {} frames can be decoded. The file is damaged; get a new copy."


class UnreadableError(Exception):
    """The file cannot be decoded. The message does not include the file name."""


@dataclass(frozen=True)
class VideoIndex:
    """Positions and times of the frames of a video file."""

    width: int
    """Width of an upright frame in pixels."""

    height: int
    """Height of an upright frame in pixels."""

    quarter_turns: int
    """Counter-clockwise quarter turns that make a decoded frame upright."""

    packets: list[tuple[int | None, bool, bool]]
    """(presentation timestamp or None, is key frame, is shown) per packet, in decoding order."""

    timestamps: list[int]
    """Presentation timestamps of the shown frames, ascending."""

    time_base: Fraction
    """Seconds per timestamp unit."""

    start: int
    """Timestamp of second 0."""

    end: float
    """Second at which the last frame ends."""

    counted: bool
    """Identify frames by counting decoded frames, because timestamps (AVI, raw streams) or packets
    (damaged files) are unreliable."""

    comment: str | None
    """Comment tag of the file."""

    note: str | None
    """What is wrong with the file, or None."""


def read_index(path: str, tick: Tick) -> VideoIndex:
    """Index the frames of a file. Only the first frame is decoded. Raises UnreadableError."""
    with _open(path) as container:
        stream = _video_stream(container)
        stream.thread_count = 1
        packets, first, duration, broken = [], None, 0, False
        try:
            for packet in container.demux(stream):
                tick()
                if packet.size:
                    packets.append((packet.pts, packet.is_keyframe, not packet.is_discard))
                    duration = packet.duration or duration
                if first is None:
                    first = _first_frame(stream, packet)
        except av.FFmpegError:
            broken = True
        if first is None:
            raise UnreadableError(_NO_FRAMES.format(len(packets)))
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        step = max(1, round(1 / rate / stream.time_base))
        shown = [timestamp for timestamp, _, is_shown in packets if is_shown]
        reliable = None not in shown and len(set(shown)) == len(shown)
        timestamps = sorted(shown) if reliable else [number * step for number in range(len(shown))]
        start = 0
        if timestamps[0] < 0 or container.format.flags & av.format.Flags.ts_discont.value:  # the clock does not start at 0
            start = min(timestamps[0], int(Fraction(container.start_time or 0, av.time_base) / stream.time_base))
        quarter_turns = round(first.rotation / 90) % 4
        size = (first.width, first.height) if quarter_turns % 2 == 0 else (first.height, first.width)
        end = float((timestamps[-1] + (duration or step) - start) * stream.time_base)
        counted = not reliable or container.format.name == "avi"
        comment = container.metadata.get("comment") or container.metadata.get("COMMENT")
        note = _truncation(container, stream, len(packets), end, broken)
        return VideoIndex(*size, quarter_turns, packets, timestamps, stream.time_base, start, end, counted, comment, note)


def scan(path: str, index: VideoIndex, tick: Tick) -> VideoIndex:
    """Decode a damaged file completely and index the frames that can be decoded.

    Raises:
        UnreadableError: no frame can be decoded.
    """
    with _open(path) as container:
        decoded = [frame.pts for frame in _all_frames(container, _video_stream(container), tick)]
    timestamps = index.timestamps[: len(decoded)] if index.counted else sorted(decoded)
    if not timestamps:
        raise UnreadableError(_NO_FRAMES.format(len(index.timestamps)))
    if len(timestamps) == len(index.timestamps):
        return replace(index, counted=True)
    step = float((index.timestamps[-1] - index.timestamps[0]) * index.time_base) / (len(index.timestamps) - 1)
    end = min(index.end, float((timestamps[-1] - index.start) * index.time_base) + step)
    note = f"damaged: {len(timestamps)} of {len(index.timestamps)} frames can be decoded"
    return replace(index, timestamps=timestamps, end=end, counted=True, note=note)


def read(path: str, index: VideoIndex, positions: list[int], size: tuple[int, int] | None, tick: Tick) -> Iterator[DecodedFrame]:
    """Decode frames with PyAV. Frames that cannot be decoded are left out.

    Args:
        path: the video file.
        index: its index.
        positions: ascending positions in presentation order.
        size: (width, height) in pixels of the upright frames, or None for the original size.
        tick: called while decoding.
    """
    if size and index.quarter_turns % 2:
        size = size[::-1]
    with _open(path) as container:
        stream = _video_stream(container)
        if index.counted:
            wanted = set(positions)
            for position, frame in enumerate(_all_frames(container, stream, tick)):
                if position in wanted:
                    yield position, _rgb(frame, size), index.quarter_turns
                if position >= positions[-1]:
                    return
        else:
            by_timestamp = {index.timestamps[position]: position for position in positions}
            stream.thread_type = "AUTO"
            stream.thread_count = 0 if index.width * index.height >= MULTITHREADED_PIXELS else 1
            for frame in _required_frames(container, stream, index, set(by_timestamp), tick):
                if frame.pts in by_timestamp:
                    yield by_timestamp.pop(frame.pts), _rgb(frame, size), index.quarter_turns


def read_with_decord(
    path: str, index: VideoIndex, positions: list[int], size: tuple[int, int] | None, tick: Tick
) -> Iterator[DecodedFrame]:
    """Decode frames with decord, which rotates them itself; resize them as `read` does."""
    import decord  # noqa: PLC0415  # imports NumPy and takes half a second; most requests do not need it

    reader = decord.VideoReader(path, ctx=decord.cpu(0))
    if len(reader) != len(index.timestamps):
        raise UnreadableError(f"decord finds {len(reader)} frames, expected {len(index.timestamps)}")
    for first in range(0, len(positions), 16):
        tick()
        batch = positions[first : first + 16]
        for position, pixels in zip(batch, reader.get_batch(batch).asnumpy(), strict=True):
            yield position, _rgb(av.VideoFrame.from_ndarray(pixels, format="rgb24"), size), 0


def _open(path: str) -> Any:
    try:
        return av.open(f"file:{path}", options={"protocol_whitelist": "file", "format_whitelist": FORMATS})
    except av.FFmpegError as error:
        raise UnreadableError(
            f"FFmpeg cannot open it ({error.strerror}). It is not a video, or it is truncated or damaged."
        ) from None


def _video_stream(container: Any) -> Any:
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        kinds = [other.type for other in container.streams if other is not stream]
        found = [f"{kinds.count(kind)} {kind} stream{'s' * (kinds.count(kind) > 1)}" for kind in sorted(set(kinds))]
        found += ["a cover picture"] * (stream is not None)
        raise UnreadableError(f"no video stream (found: {', '.join(found) or 'nothing'}). Use a file with a video track.")
    if stream.codec_context is None:
        raise UnreadableError("FFmpeg does not support its video codec. Convert the file to H.264.")
    return stream


def _first_frame(stream: Any, packet: Any) -> Any:
    try:
        return next(iter(stream.codec_context.decode(packet if packet.size else None)), None)
    except av.FFmpegError:
        stream.codec_context.flush_buffers()
        return None


def _truncation(container: Any, stream: Any, count: int, end: float, broken: bool) -> str | None:
    """Compare the file with its header; return a note if frames are missing."""
    if count < stream.frames:
        return f"truncated: {count} of {stream.frames} frames are present"
    expected = (container.duration or 0) / av.time_base
    if broken or expected - end > max(1.0, 0.05 * expected):
        return f"truncated: the video ends at {end:.1f} s of {max(expected, end):.1f} s"
    return None


def _required_frames(container: Any, stream: Any, index: VideoIndex, wanted: set[int], tick: Tick) -> Iterator[Any]:
    """Decode what the wanted timestamps depend on, without other non-reference frames.

    Stops at the first damaged packet.
    """
    required, last = _dependencies(index.packets, wanted)
    codec = stream.codec_context
    may_skip = codec.name in SKIPPING_CODECS
    running = True
    try:
        for number, packet in enumerate(packet for packet in container.demux(stream) if packet.size):
            tick()
            if number > last:
                break
            if required[number]:
                if not running:
                    codec.flush_buffers()
                codec.skip_frame = "NONREF" if may_skip and packet.pts not in wanted else "DEFAULT"
                yield from codec.decode(packet)
            elif running:
                yield from codec.decode(None)
            running = bool(required[number])
        if running:
            yield from codec.decode(None)
    except av.FFmpegError:
        return  # the caller notices the missing frames


def _dependencies(packets: list[tuple[int | None, bool, bool]], wanted: set[int]) -> tuple[bytearray, int]:
    """Return which packets the wanted timestamps depend on, and the number of the last one.

    A frame depends on all packets from its key frame on. A frame that is stored after a key frame
    but shown before it (open group of pictures) also depends on the previous group.
    """
    keys = [number for number, (_, is_key, _) in enumerate(packets) if is_key] or [0]
    required, last = bytearray(len(packets)), 0
    for number, (timestamp, _, _) in enumerate(packets):
        if timestamp not in wanted:
            continue
        group = bisect_right(keys, number) - 1
        while group > 0 and (packets[keys[group]][0] or 0) > timestamp:
            group -= 1
        first = keys[group] if group >= 0 else 0
        required[first : number + 1] = b"\1" * (number + 1 - first)
        last = number
    return required, last


def _all_frames(container: Any, stream: Any, tick: Tick) -> Iterator[Any]:
    """Yield every intact frame in order; after a damaged packet, skip to the next key frame."""
    stream.thread_count = 1
    codec = stream.codec_context
    damaged = False
    packets = container.demux(stream)
    while True:
        tick()
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            packet = None
        if packet is not None and packet.size and damaged and not packet.is_keyframe:
            continue
        try:
            frames = codec.decode(packet if packet is not None and packet.size else None)
            damaged = False
        except av.FFmpegError:
            codec.flush_buffers()
            damaged, frames = True, []
        yield from frames
        if packet is None or not packet.size:
            return


def _rgb(frame: Any, size: tuple[int, int] | None) -> Any:
    """Convert to RGB, then resize by area.

    FFmpeg is faster in a single step, but colours are then off by up to 15 of 255.
    """
    frame = frame.reformat(format="rgb24")
    return frame.reformat(width=size[0], height=size[1], interpolation="AREA") if size else frame


def _serve(requests: Connection, replies: Connection) -> None:
    last = time.monotonic()

    def tick() -> None:
        nonlocal last
        if time.monotonic() - last > TICK_S:
            last = time.monotonic()
            replies.send(("tick",))

    replies.send(("ready",))
    while True:
        try:
            command, path, index, *rest = requests.recv()
        except EOFError:
            return
        try:
            if command == "index":
                replies.send(("done", vars(read_index(path, tick))))
            elif command == "scan":
                replies.send(("done", vars(scan(path, VideoIndex(**index), tick))))
            else:
                positions, size = rest
                reader = read if command == "read" else read_with_decord
                for position, frame, quarter_turns in reader(path, VideoIndex(**index), positions, size, tick):
                    plane = frame.planes[0]
                    replies.send(("frame", position, frame.width, frame.height, plane.line_size, quarter_turns))
                    replies.send_bytes(memoryview(plane))
                replies.send(("done", None))
        except UnreadableError as error:
            replies.send(("error", str(error)))
        except Exception as error:  # any exception of a decoder is a problem of the file; report it to the caller
            replies.send(("error", f"decoding failed ({str(error).splitlines()[0]}). Convert it to H.264 or get a new copy."))


if __name__ == "__main__":
    private = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keep the output of libraries out of the replies
    _serve(Connection(os.dup(sys.stdin.fileno()), writable=False), Connection(private, readable=False))
