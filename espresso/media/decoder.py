"""The decoder: a program of its own that lists and decodes the frames of video files for `espresso.media.process`.

FFmpeg reads files that strangers made. It runs apart, so that a file which makes it hang or crash costs that process and not the
caller's. The program imports nothing of espresso and no NumPy, so that it starts in about 0.1 s (NumPy alone takes longer).

It reads pickled requests `(command, path, index or None, ...)` from standard input and ends with it. It writes pickled messages
to standard output: `("ready",)` at the start, `("tick",)` while it works, `("frame", position, width, height, row bytes, turns)`
followed by the raw RGB rows, and at last `("done", result)`, or `("error", sentence)` on what is wrong with the file.

Two readers. PyAV, driven packet by packet, decodes only what the wanted frames depend on: nothing between the last wanted frame
of a group of pictures and the next key frame, and no frame that nothing refers to. decord decodes everything in C++, which is
faster where most frames are wanted. `benchmarks/decode.py` measures both; `espresso.media.clip` draws the line between them.
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
"""What FFmpeg may take a file for: video, and sound to tell it apart. Text is out, and playlists, which name other files."""

TICK_S = 0.5
MANY_PIXELS = 1280 * 720
"""From this frame size on, several decoding threads are faster than one (measured on the real clips and at 1080p)."""

SKIPPING = ("h264", "mpeg4", "mpeg2video", "vp8")
"""Decoders that skip exactly the frames nothing refers to. HEVC's may be referred to from a higher temporal layer, and dav1d,
which looks at the switch when it gets round to a frame, skips others."""

Tick = Callable[[], None]

Shot = tuple[int, Any, int]
"""A frame's position, the frame as PyAV holds it in RGB, and the counter-clockwise quarter turns that it still needs."""

_NOTHING = "none of its {} frames can be decoded. The file is damaged; get it anew."


class Unreadable(Exception):
    """A file that cannot be decoded; the message is the sentence without the file's name."""


@dataclass(frozen=True)
class Index:
    """Where the frames of a file are.

    width, height: pixels, upright. turns: counter-clockwise quarter turns that make a decoded frame upright.
    packets: (presentation stamp or None, is a key frame, is shown) in decoding order. stamps: of the shown frames, ascending.
    time_base: seconds a stamp unit. start: the stamp of second 0. end: seconds, when the last frame ends.
    counted: stamps cannot be trusted (AVI, raw streams) or packets cannot (damage): frames are told by counting what is decoded.
    note: what is wrong with the file, or None.
    """

    width: int
    height: int
    turns: int
    packets: list[tuple[int | None, bool, bool]]
    stamps: list[int]
    time_base: Fraction
    start: int
    end: float
    counted: bool
    comment: str | None
    note: str | None


def index(path: str, tick: Tick) -> Index:
    """List the frames of a file without decoding more than the first. Raises Unreadable."""
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
                    first = _first(stream, packet)
        except av.FFmpegError:
            broken = True
        if first is None:
            raise Unreadable(_NOTHING.format(len(packets)))
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        step = max(1, round(1 / rate / stream.time_base))
        shown = [stamp for stamp, _, is_shown in packets if is_shown]
        stamped = None not in shown and len(set(shown)) == len(shown)
        stamps = sorted(shown) if stamped else [number * step for number in range(len(shown))]
        start = 0
        if stamps[0] < 0 or container.format.flags & av.format.Flags.ts_discont.value:  # a clock that does not start at 0
            start = min(stamps[0], int(Fraction(container.start_time or 0, av.time_base) / stream.time_base))
        turns = round(first.rotation / 90) % 4
        size = (first.width, first.height) if turns % 2 == 0 else (first.height, first.width)
        end = float((stamps[-1] + (duration or step) - start) * stream.time_base)
        counted = not stamped or container.format.name == "avi"
        comment = container.metadata.get("comment") or container.metadata.get("COMMENT")
        note = _missing(container, stream, len(packets), end, broken)
        return Index(*size, turns, packets, stamps, stream.time_base, start, end, counted, comment, note)


def survey(path: str, known: Index, tick: Tick) -> Index:
    """List the frames that a damaged file really gives, by decoding it from end to end. Raises Unreadable if there is none."""
    with _open(path) as container:
        found = [frame.pts for frame in _every_frame(container, _video_stream(container), tick)]
    stamps = known.stamps[: len(found)] if known.counted else sorted(found)
    if not stamps:
        raise Unreadable(_NOTHING.format(len(known.stamps)))
    if len(stamps) == len(known.stamps):
        return replace(known, counted=True)
    step = float((known.stamps[-1] - known.stamps[0]) * known.time_base) / (len(known.stamps) - 1)
    end = min(known.end, float((stamps[-1] - known.start) * known.time_base) + step)
    note = f"damaged: {len(stamps)} of its {len(known.stamps)} frames can be decoded"
    return replace(known, stamps=stamps, end=end, counted=True, note=note)


def read(path: str, known: Index, positions: list[int], size: tuple[int, int] | None, tick: Tick) -> Iterator[Shot]:
    """Decode the frames at `positions`, ascending numbers in presentation order.

    size: (width, height) in pixels of the upright frame, or None for the file's own. Frames that cannot be decoded are left out.
    """
    if size and known.turns % 2:
        size = size[::-1]
    with _open(path) as container:
        stream = _video_stream(container)
        if known.counted:
            wanted = set(positions)
            for position, frame in enumerate(_every_frame(container, stream, tick)):
                if position in wanted:
                    yield position, _rgb(frame, size), known.turns
                if position >= positions[-1]:
                    return
        else:
            by_stamp = {known.stamps[position]: position for position in positions}
            stream.thread_type = "AUTO"
            stream.thread_count = 0 if known.width * known.height >= MANY_PIXELS else 1
            for frame in _needed_frames(container, stream, known, set(by_stamp), tick):
                if frame.pts in by_stamp:
                    yield by_stamp.pop(frame.pts), _rgb(frame, size), known.turns


def read_with_decord(path: str, known: Index, positions: list[int], size: tuple[int, int] | None, tick: Tick) -> Iterator[Shot]:
    """As `read`, by decord, which turns frames upright itself. They are resized here, so that both give the same."""
    import decord  # noqa: PLC0415  # takes half a second and NumPy, and most requests never need it

    reader = decord.VideoReader(path, ctx=decord.cpu(0))
    if len(reader) != len(known.stamps):
        raise Unreadable(f"decord finds {len(reader)} frames where there are {len(known.stamps)}")
    for first in range(0, len(positions), 16):
        tick()
        some = positions[first : first + 16]
        for position, pixels in zip(some, reader.get_batch(some).asnumpy(), strict=True):
            yield position, _rgb(av.VideoFrame.from_ndarray(pixels, format="rgb24"), size), 0


def _open(path: str) -> Any:
    try:
        return av.open(f"file:{path}", options={"protocol_whitelist": "file", "format_whitelist": FORMATS})
    except av.FFmpegError as error:
        raise Unreadable(
            f"not a video that FFmpeg can open ({error.strerror}). If it was one, it is cut short or damaged."
        ) from None


def _video_stream(container: Any) -> Any:
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        kinds = [other.type for other in container.streams if other is not stream]
        found = [f"{kinds.count(kind)} {kind} stream{'s' * (kinds.count(kind) > 1)}" for kind in sorted(set(kinds))]
        found += ["a cover picture"] * (stream is not None)
        raise Unreadable(f"no video stream (found: {', '.join(found) or 'nothing'}). Give a file with pictures in it.")
    if stream.codec_context is None:
        raise Unreadable("its video codec is not known to FFmpeg here. Convert it to H.264.")
    return stream


def _first(stream: Any, packet: Any) -> Any:
    try:
        return next(iter(stream.codec_context.decode(packet if packet.size else None)), None)
    except av.FFmpegError:
        stream.codec_context.flush_buffers()
        return None


def _missing(container: Any, stream: Any, found: int, end: float, broken: bool) -> str | None:
    """Say what the head of the file promises and the file does not hold, if anything."""
    if found < stream.frames:
        return f"cut short: {found} of its {stream.frames} frames are there"
    promised = (container.duration or 0) / av.time_base
    if broken or promised - end > max(1.0, 0.05 * promised):
        return f"cut short: its pictures end at {end:.1f} s of {max(promised, end):.1f} s"
    return None


def _needed_frames(container: Any, stream: Any, known: Index, wanted: set[int], tick: Tick) -> Iterator[Any]:
    """Decode the packets the wanted stamps depend on, and of these skip what no other frame refers to; stop at damage."""
    needed, last = _dependencies(known.packets, wanted)
    codec = stream.codec_context
    may_skip = codec.name in SKIPPING
    running = True
    try:
        for number, packet in enumerate(packet for packet in container.demux(stream) if packet.size):
            tick()
            if number > last:
                break
            if needed[number]:
                if not running:
                    codec.flush_buffers()
                codec.skip_frame = "NONREF" if may_skip and packet.pts not in wanted else "DEFAULT"
                yield from codec.decode(packet)
            elif running:
                yield from codec.decode(None)
            running = bool(needed[number])
        if running:
            yield from codec.decode(None)
    except av.FFmpegError:
        return  # the frames still wanted stay out, and the caller notices


def _dependencies(packets: list[tuple[int | None, bool, bool]], wanted: set[int]) -> tuple[bytearray, int]:
    """Which packets must be decoded for the wanted stamps, and the number of the last.

    A frame needs all from its key frame on; one that is stored after a key frame and shown before it (an open group of pictures)
    needs the group before as well.
    """
    keys = [number for number, (_, is_key, _) in enumerate(packets) if is_key] or [0]
    needed, last = bytearray(len(packets)), 0
    for number, (stamp, _, _) in enumerate(packets):
        if stamp not in wanted:
            continue
        which = bisect_right(keys, number) - 1
        while which > 0 and (packets[keys[which]][0] or 0) > stamp:
            which -= 1
        first = keys[which] if which >= 0 else 0
        needed[first : number + 1] = b"\1" * (number + 1 - first)
        last = number
    return needed, last


def _every_frame(container: Any, stream: Any, tick: Tick) -> Iterator[Any]:
    """Every sound frame, in the order shown. After a damaged packet nothing is trusted up to the next key frame."""
    stream.thread_count = 1
    codec = stream.codec_context
    lost = False
    packets = container.demux(stream)
    while True:
        tick()
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            packet = None
        if packet is not None and packet.size and lost and not packet.is_keyframe:
            continue
        try:
            frames = codec.decode(packet if packet is not None and packet.size else None)
            lost = False
        except av.FFmpegError:
            codec.flush_buffers()
            lost, frames = True, []
        yield from frames
        if packet is None or not packet.size:
            return


def _rgb(frame: Any, size: tuple[int, int] | None) -> Any:
    """Convert to RGB, then resize by area. FFmpeg does both at once faster, but mixes up colours (off by up to 15 of 255)."""
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
            command, path, known, *rest = requests.recv()
        except EOFError:
            return
        try:
            if command == "index":
                replies.send(("done", vars(index(path, tick))))
            elif command == "survey":
                replies.send(("done", vars(survey(path, Index(**known), tick))))
            else:
                positions, size = rest
                reader = read if command == "read" else read_with_decord
                for position, frame, turns in reader(path, Index(**known), positions, size, tick):
                    plane = frame.planes[0]
                    replies.send(("frame", position, frame.width, frame.height, plane.line_size, turns))
                    replies.send_bytes(memoryview(plane))
                replies.send(("done", None))
        except Unreadable as error:
            replies.send(("error", str(error)))
        except Exception as error:  # whatever a decoder raises is a fact about the file; the caller gets it as a sentence
            replies.send(("error", f"it cannot be decoded ({str(error).splitlines()[0]}). Convert it to H.264 or get it anew."))


if __name__ == "__main__":
    private = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not mix with the replies
    _serve(Connection(os.dup(sys.stdin.fileno()), writable=False), Connection(private, readable=False))
