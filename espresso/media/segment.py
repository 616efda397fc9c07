"""Parts of videos: `clip.mp4#t=4,6` is the part from 4 s to 6 s.

The temporal dimension of W3C Media Fragments URI 1.0, section 4.2.1, in seconds: `#t=4,6`, `#t=4`
(to the end) and `#t=,6` (from the start).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from espresso.errors import MediaError

MARK = "#t="
_SECONDS = r"[0-9]+(?:\.[0-9]*)?"
_TIMES = re.compile(f"({_SECONDS})|({_SECONDS})?,({_SECONDS})")


@dataclass(frozen=True)
class Segment:
    """A part of a video."""

    start: float
    """Seconds from the start of the file; the part includes it."""

    end: float
    """Seconds from the start of the file; the part excludes it. Infinity is the end of the file."""


def split_segment(source: str) -> tuple[str, str]:
    """Split a path or URL into the file and the segment: ("clip.mp4", "#t=4,6").

    The segment is "" if there is none. The file may really have such a name, which takes
    precedence in `espresso.media.open`.
    """
    file, mark, times = source.rpartition(MARK)
    return (file, mark + times) if file and not re.search("[/@]", times) else (source, "")


def segment_source(source: str, start: float | None, end: float | None) -> str:
    """Return the source of a part of a video: `clip.mp4#t=4,6`.

    Args:
        source: path or URL of the video.
        start: seconds; None is the start of the video.
        end: seconds; None is the end of the video.
    """
    first, last = ("" if time is None else np.format_float_positional(time, trim="-") for time in (start, end))
    return f"{source}{MARK}{first}{',' if last else ''}{last}" if first or last else source


def parse_segment(text: str) -> Segment:
    """Parse a segment as `split_segment` returns it.

    Raises:
        MediaError: it is not a segment, or is empty. The message does not include the file name.
    """
    match = _TIMES.fullmatch(text.removeprefix(MARK))
    if not match:
        raise MediaError("its segment is not valid. Write #t=START,END in seconds, such as #t=4,6.")
    open_start, start, end = match.groups()
    segment = Segment(float(open_start or start or 0), float(end) if end else math.inf)
    if segment.start >= segment.end:
        raise MediaError(f"its segment is empty, from {segment.start:g} s to {segment.end:g} s. Give a start before the end.")
    return segment
