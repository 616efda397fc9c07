"""The decoder: a program that indexes and decodes video files for `espresso.media.process`.

FFmpeg reads untrusted files. It runs in a process of its own, so a file that makes it hang or
crash does not take the caller down. The program imports neither espresso nor NumPy and starts in
about 0.1 s (importing NumPy alone takes longer); only pictures, which files opened with limits are
read as here too, need them.

Protocol: pickled requests `(command, path, index or None, ...)` on standard input, until it is
closed. Pickled messages on standard output: `("ready",)` at the start, `("tick",)` while the
decoder works, `("frame", position, width, height, row bytes)` followed by the raw RGB rows, and
finally `("done", result)`, or `("error", message)` if the file cannot be decoded.

There are two readers. PyAV, driven packet by packet, decodes only what the requested frames depend
on: it skips everything between the last requested frame of a group of pictures and the next key
frame, and frames that no other frame refers to. decord decodes everything in C++, which is faster
if most frames are requested. `benchmarks/decode.py` compares them; `espresso.media.clip` chooses.
"""

from __future__ import annotations

import math
import os
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from multiprocessing.connection import Connection
from typing import Any

import av

FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,ivf,obu,av1,h264,hevc,vvc,m4v,h263,nut,mxf,rm,wtv,dv,yuv4mpegpipe,"
    "mp3,wav,flac,aac,aiff"
)
"""Formats that FFmpeg may detect: video, and audio for a better error message.

Text and images are excluded, and so are playlists, because they refer to other files. Motion JPEG
is allowed only in a file that starts with a JPEG image: FFmpeg also finds it in documents.
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

JUMP_S = 10.0
"""Seconds by which the clock of a transport stream must jump to be corrected, as in FFmpeg."""

MAX_ASPECT = 8
"""Pixels more than this many times as wide as high, or as high as wide, are a damaged header."""

DecodedFrames = Generator[tuple[int, Any], None, str | None]
"""Yields (position, upright RGB frame of PyAV); returns what is wrong with the frames, or None."""

_NO_FRAMES = "none of its {} frames can be decoded. The file is damaged; get a new copy."


class UnreadableError(Exception):
    """The file cannot be decoded. The message does not include the file name."""


@dataclass(frozen=True)
class VideoIndex:
    """Positions and times of the frames of a video file."""

    width: int
    """Width of an upright frame with square pixels."""

    height: int
    """Height of an upright frame with square pixels."""

    coded: tuple[int, int]
    """Width and height of the first frame as it is stored."""

    filters: list[tuple[str, str]]
    """(name, arguments) of the FFmpeg filters that make a decoded frame upright."""

    packets: list[tuple[int | None, bool, bool]]
    """(presentation timestamp or None, is key frame, is shown) per packet, in decoding order."""

    timestamps: list[int]
    """Presentation timestamps of the shown frames, ascending, on a clock that does not jump."""

    time_base: Fraction
    """Seconds per timestamp unit."""

    start: int
    """Timestamp of second 0."""

    end: float
    """Second at which the last frame ends."""

    counted: bool
    """Identify frames by counting decoded frames, because timestamps (AVI, raw streams) or packets
    (damaged files) are unreliable."""

    decord: bool
    """Whether decord gives the same frames: it turns them, but does not mirror them, and relies on
    timestamps."""

    comment: str | None
    """Comment tag of the file."""

    reading: str
    """How the file is read, if the first version of Espresso read it differently; else empty."""

    note: str | None
    """What is wrong with the file, or None."""

    max_pixels: int | None = None
    """Pixels from which on FFmpeg refuses to decode a frame, or None."""


def read_index(path: str, tick: Tick, max_pixels: int | None = None) -> VideoIndex:
    """Index the frames of a file. Only the first frame is decoded.

    Args:
        path: the video file.
        tick: called while reading.
        max_pixels: pixels of the largest frame that is decoded, or None.

    Raises:
        UnreadableError: it is no video, is damaged, or has larger frames.
    """
    with _open(path) as container:
        stream = _video_stream(container, max_pixels)
        if max_pixels and stream.width * stream.height > max_pixels:
            raise UnreadableError(
                f"frames of {stream.width}x{stream.height} pixels are more than the limit of {max_pixels:,} pixels. "
                "Give a smaller copy."
            )
        stream.thread_count = 1
        clock = _Clock(container, stream)
        packets, first, duration, broken = [], None, 0, False
        try:
            for packet in clock.packets():
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
        shown = [timestamp for timestamp, _, is_shown in packets if is_shown]
        unique = len(set(shown)) == len(shown)
        if None in shown or len(set(shown)) < 0.9 * len(shown):
            unique, timestamps = False, [number * clock.step for number in range(len(shown))]
        else:  # where recordings were joined, a few timestamps may be equal
            timestamps = list(accumulate(sorted(shown), lambda last, timestamp: max(last + 1, timestamp)))
        start = 0
        if clock.jumps:
            start = timestamps[0]
        elif timestamps[0] < 0 or clock.may_jump:  # the clock does not start at 0
            start = min(timestamps[0], int(Fraction(container.start_time or 0, av.time_base) / stream.time_base))
        end = float((timestamps[-1] + (duration or clock.step) - start) * stream.time_base)
        filters = upright_filters(first)
        width, height = _square(first.width, first.height, stream.sample_aspect_ratio)
        if any(name == "transpose" for name, _ in filters):
            width, height = height, width
        counted = not unique or container.format.name == "avi"
        truncated = _truncation(container, stream, len(packets), end, broken)
        mirrored, square = filters not in _TURNS, sorted((width, height)) == sorted((first.width, first.height))
        changed = mirrored or not square or clock.jumps or container.format.name == "mjpeg"
        return VideoIndex(
            width=width,
            height=height,
            coded=(first.width, first.height),
            filters=filters,
            packets=packets,
            timestamps=timestamps,
            time_base=stream.time_base,
            start=start,
            end=end,
            counted=counted,
            decord=not (counted or clock.jumps or mirrored),
            comment=container.metadata.get("comment") or container.metadata.get("COMMENT"),
            reading=f"{width}x{height} {filters} {clock.jumps}" if changed else "",
            note="the clock of the file jumps; times continue as if it did not" if clock.jumps else truncated,
            max_pixels=max_pixels,
        )


def scan(path: str, index: VideoIndex, tick: Tick) -> VideoIndex:
    """Decode a damaged file completely and index the frames that can be decoded.

    Raises:
        UnreadableError: no frame can be decoded.
    """
    with _open(path) as container:
        decoded = [frame.pts for frame in _all_frames(container, _video_stream(container, index.max_pixels), tick)]
    timestamps = index.timestamps[: len(decoded)] if index.counted else sorted(decoded)
    if not timestamps:
        raise UnreadableError(_NO_FRAMES.format(len(index.timestamps)))
    if len(timestamps) == len(index.timestamps):
        return replace(index, counted=True, decord=False)
    step = float((index.timestamps[-1] - index.timestamps[0]) * index.time_base) / (len(index.timestamps) - 1)
    end = min(index.end, float((timestamps[-1] - index.start) * index.time_base) + step)
    note = f"damaged: {len(timestamps)} of {len(index.timestamps)} frames can be decoded"
    return replace(index, timestamps=timestamps, end=end, counted=True, decord=False, note=note)


def read(path: str, index: VideoIndex, positions: list[int], size: tuple[int, int] | None, tick: Tick) -> DecodedFrames:
    """Decode frames with PyAV. Frames that cannot be decoded are left out.

    Frames of another size than the first one are scaled to it.

    Args:
        path: the video file.
        index: its index.
        positions: ascending positions in presentation order.
        size: (width, height) in pixels of the upright frames, or None for the original size.
        tick: called while decoding.
    """
    upright = _Upright(index, size)
    with _open(path) as container:
        stream = _video_stream(container, index.max_pixels)
        if index.counted:
            wanted = set(positions)
            for position, frame in enumerate(_all_frames(container, stream, tick)):
                if position in wanted:
                    yield position, upright(frame)
                if position >= positions[-1]:
                    break
        else:
            by_timestamp = {index.timestamps[position]: position for position in positions}
            stream.thread_type = "AUTO"
            stream.thread_count = 0 if index.width * index.height >= MULTITHREADED_PIXELS else 1
            for frame in _required_frames(container, stream, index, set(by_timestamp), tick):
                if frame.pts in by_timestamp:
                    yield by_timestamp.pop(frame.pts), upright(frame)
    return upright.note


def read_with_decord(
    path: str, index: VideoIndex, positions: list[int], size: tuple[int, int] | None, tick: Tick
) -> DecodedFrames:
    """Decode frames with decord, which rotates them itself; resize them as `read` does.

    Raises:
        UnreadableError: decord does not read the file as `read` does.
    """
    import decord  # noqa: PLC0415  # imports NumPy and takes half a second; most requests do not need it

    reader = decord.VideoReader(path, ctx=decord.cpu(0))
    if len(reader) != len(index.timestamps):
        raise UnreadableError(f"decord finds {len(reader)} frames, expected {len(index.timestamps)}")
    if _changes_size(path, index, tick):
        raise UnreadableError("decord does not tell that the frame size changes")
    for first in range(0, len(positions), 16):
        tick()
        batch = positions[first : first + 16]
        for position, pixels in zip(batch, reader.get_batch(batch).asnumpy(), strict=True):
            yield position, _resized(av.VideoFrame.from_ndarray(pixels, format="rgb24"), size or (index.width, index.height))
    return None


def _changes_size(path: str, index: VideoIndex, tick: Tick) -> bool:
    """Return whether the last key frame, or some before it, differ in size from the first frame."""
    keys = [number for number, (_, is_key, _) in enumerate(index.packets) if is_key][1:]
    checked = {*keys[:: max(1, len(keys) // 8)], *keys[-1:]}
    with _open(path) as container:
        stream = _video_stream(container)
        stream.thread_count = 1
        codec = stream.codec_context
        for number, packet in enumerate(packet for packet in container.demux(stream) if packet.size):
            tick()
            if number in checked:
                frames = [*codec.decode(packet), *codec.decode(None)]
                codec.flush_buffers()
                if any((frame.width, frame.height) != index.coded for frame in frames):
                    return True
    return False


def upright_filters(frame: Any) -> list[tuple[str, str]]:
    """Return the filters that apply the display matrix of a frame, as the ffmpeg program does.

    A matrix that is singular is ignored. See `av_display_rotation_get` and `configure_filtergraph`
    in FFmpeg.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return []
    matrix = memoryview(bytes(data)).cast("i")
    columns = math.hypot(matrix[0], matrix[3]), math.hypot(matrix[1], matrix[4])
    if 0 in columns:
        return []
    match round(math.degrees(math.atan2(matrix[1] / columns[1], matrix[0] / columns[0]))) % 360:
        case 0:
            filters = [("vflip", "")] * (matrix[4] < 0)
        case 90:
            filters = [("transpose", "cclock_flip" if matrix[3] > 0 else "clock")]
        case 180:
            filters = [("hflip", "")] * (matrix[0] < 0) + [("vflip", "")] * (matrix[4] < 0)
        case 270:
            filters = [("transpose", "clock_flip" if matrix[3] < 0 else "cclock")]
        case angle:
            filters = [("rotate", f"{angle}*PI/180")]
    return filters


_TURNS: tuple[list[tuple[str, str]], ...] = (
    [],
    [("transpose", "clock")],
    [("transpose", "cclock")],
    [("hflip", ""), ("vflip", "")],
)
"""The filters of matrices that only turn."""


class _Upright:
    """Convert decoded frames to upright RGB of one size.

    Args:
        index: the index of the file.
        size: (width, height) in pixels of the upright frames, or None for those of the index.
    """

    note: str | None
    """That a frame has another size than the first one, or None."""

    def __init__(self, index: VideoIndex, size: tuple[int, int] | None) -> None:
        self.note = None
        self._stored = index.coded
        self._size = size or (index.width, index.height)
        self._filters = index.filters
        if any(name == "transpose" for name, _ in index.filters):
            self._size = self._size[::-1]
        self._graph: Any = None

    def __call__(self, frame: Any) -> Any:
        if (frame.width, frame.height) != self._stored:
            before = "{}x{}".format(*self._stored)
            self.note = f"its frame size changes from {before} to {frame.width}x{frame.height}; all frames have the first size"
        frame = _resized(frame, self._size)
        if not self._filters:
            return frame
        if self._graph is None:
            self._graph = av.filter.Graph()
            nodes = [
                self._graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)),
                *(self._graph.add(name, arguments or None) for name, arguments in self._filters),
                self._graph.add("copy"),  # vflip gives rows from the last to the first
                self._graph.add("buffersink"),
            ]
            self._graph.link_nodes(*nodes).configure()
        frame.time_base = Fraction(1)
        self._graph.push(frame)
        return self._graph.pull()


def _open(path: str) -> Any:
    with open(path, "rb") as file:
        motion_jpeg = file.read(3) == b"\xff\xd8\xff"
    formats = "mjpeg" if motion_jpeg else FORMATS
    options = {"protocol_whitelist": "file", "format_whitelist": formats}
    try:
        return av.open(f"file:{path}", format="mjpeg" if motion_jpeg else None, options=options)
    except av.FFmpegError as error:
        raise UnreadableError(
            f"FFmpeg cannot open it ({error.strerror}). It is not a video, or it is truncated or damaged."
        ) from None


def _video_stream(container: Any, max_pixels: int | None = None) -> Any:
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        kinds = [other.type for other in container.streams if other is not stream]
        found = [f"{kinds.count(kind)} {kind} stream{'s' * (kinds.count(kind) > 1)}" for kind in sorted(set(kinds))]
        found += ["a cover picture"] * (stream is not None)
        raise UnreadableError(f"no video stream (found: {', '.join(found) or 'nothing'}). Use a file with a video track.")
    if stream.codec_context is None:
        raise UnreadableError("FFmpeg does not support its video codec. Convert the file to H.264.")
    if max_pixels:
        stream.codec_context.options = {"max_pixels": str(max_pixels)}  # of FFmpeg: also where the size changes later
    return stream


class _Clock:
    """The packets of a stream, with timestamps of a clock that does not jump.

    The clock of a transport stream jumps where recordings were joined or the sender was restarted.
    The packets after a jump are moved so that they follow the ones before, as the ffmpeg program
    does (`ts_discontinuity_detect`).
    """

    may_jump: bool
    """Whether the format has such a clock, which does not start at 0 either."""

    jumps: bool
    """Whether it has jumped."""

    step: int
    """Timestamp units per frame, by the frame rate."""

    def __init__(self, container: Any, stream: Any) -> None:
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self.step = max(1, round(1 / rate / stream.time_base))
        self.may_jump = bool(container.format.flags & av.format.Flags.ts_discont.value)
        self.jumps = False
        self._container, self._stream = container, stream

    def packets(self) -> Iterator[Any]:
        """Yield the packets; the last one is empty. Raises av.FFmpegError."""
        offset, last, due, step = 0, None, None, self.step
        for packet in self._container.demux(self._stream):
            if self.may_jump and packet.dts is not None:
                now = packet.dts + offset
                if due is not None and (abs(now - due) * packet.time_base > JUMP_S or (last - now) * packet.time_base > 0.1):
                    self.jumps = True
                    offset, now = offset + due - now, due
                elif last is not None and now > last:
                    step = now - last
                if offset:
                    packet.dts = now
                    packet.pts = packet.pts + offset if packet.pts is not None else None
                last, due = now, now + step
            yield packet


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
        for number, packet in enumerate(packet for packet in _Clock(container, stream).packets() if packet.size):
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
    packets = _Clock(container, stream).packets()
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


def _square(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Return the size with square pixels; the shorter side of the pixels is enlarged.

    Args:
        width: width in stored pixels.
        height: height in stored pixels.
        aspect: width of a stored pixel divided by its height, or None if it is not known.
    """
    if not aspect or not 1 / MAX_ASPECT <= aspect <= MAX_ASPECT:
        return width, height
    return (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))


def _resized(frame: Any, size: tuple[int, int]) -> Any:
    """Convert to RGB, then resize: by area if it gets smaller.

    FFmpeg is faster in a single step, but colours are then off by up to 15 of 255.
    """
    frame = frame.reformat(format="rgb24")
    if (frame.width, frame.height) == size:
        return frame
    smaller = size[0] <= frame.width and size[1] <= frame.height
    return frame.reformat(width=size[0], height=size[1], interpolation="AREA" if smaller else "BICUBIC")


def read_picture_index(path: str, max_pixels: int | None, max_frames: int | None) -> dict[str, Any] | None:
    """Return what `espresso.media.pictures` finds in an image or animation, None if it is neither.

    Raises:
        UnreadableError: it is damaged or too large.
    """
    picture = _picture(path, max_pixels, max_frames)
    if picture is None:
        return None
    shown = ("width", "height", "times", "end", "note", "comment")
    return {name: getattr(picture, name) for name in shown} | {"digest": picture.digest()}


def _picture(path: str, max_pixels: int | None, max_frames: int | None) -> Any:
    from pathlib import Path  # noqa: PLC0415  # as in `read_with_decord`; and NumPy, Pillow

    from PIL import UnidentifiedImageError  # noqa: PLC0415

    from espresso.errors import MediaError  # noqa: PLC0415
    from espresso.media.pictures import PictureFile  # noqa: PLC0415

    try:
        return PictureFile(Path(path), max_pixels=max_pixels, max_frames=max_frames)
    except UnidentifiedImageError:
        return None
    except MediaError as error:
        raise UnreadableError(str(error)) from None


def _send_picture(path: str, limits: dict[str, Any], positions: list[int], size: Any, replies: Connection) -> None:
    for position, pixels in _picture(path, limits["max_pixels"], limits["max_frames"]).read(positions, size).items():
        height, width, _ = pixels.shape
        replies.send(("frame", position, width, height, 3 * width))
        replies.send_bytes(pixels.tobytes())


def _send(frames: DecodedFrames, replies: Connection) -> str | None:
    """Send the frames; return what is wrong with them, or None."""
    while True:
        try:
            position, frame = next(frames)
        except StopIteration as end:
            return end.value
        plane = frame.planes[0]
        replies.send(("frame", position, frame.width, frame.height, plane.line_size))
        replies.send_bytes(memoryview(plane))


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
                replies.send(("done", vars(read_index(path, tick, *rest))))
            elif command == "picture":
                replies.send(("done", read_picture_index(path, **index)))
            elif command == "read_picture":
                positions, size = rest
                _send_picture(path, index, positions, size, replies)
                replies.send(("done", None))
            elif command == "scan":
                replies.send(("done", vars(scan(path, VideoIndex(**index), tick))))
            else:
                positions, size = rest
                reader = read if command == "read" else read_with_decord
                note = _send(reader(path, VideoIndex(**index), positions, size, tick), replies)
                replies.send(("done", note))
        except UnreadableError as error:
            replies.send(("error", str(error)))
        except Exception as error:  # any exception of a decoder is a problem of the file; report it to the caller
            replies.send(("error", f"decoding failed ({str(error).splitlines()[0]}). Convert it to H.264 or get a new copy."))


if __name__ == "__main__":
    private = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keep the output of libraries out of the replies
    _serve(Connection(os.dup(sys.stdin.fileno()), writable=False), Connection(private, readable=False))
