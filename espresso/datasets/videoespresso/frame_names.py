"""Find VideoEspresso's core frames in the clips by their file names.

A name is a number (`480.jpg`) or a clock time (`000140_keyframe_0-14-56-979.jpg`). The authors do
not document them. What this module assumes, and why:

- A number is the native index of a frame of the clip. Issue 11 of the authors' repository has
  `480.jpg` and `528.jpg` of a clip of 86 s; issue 21 says that frames were sampled at 1 per second,
  at which these two would be far past the end. Sources whose numbers fit both are reported.
- A clock time (Storystream) counts from the start of the film that the clip was cut from. The
  clip's file name says where it starts: `000140_0_14.mp4` at minute 14 of hour 0 (issue 14: the
  frame of 0-14-56-979 is in this clip, that of 0-15-14-830 is not), and
  `Election.2005__#00-05-30_00-06-56_label_A.mp4` (XD-Violence) at 5 min 30 s.

A name that lies outside the clip, or whose time cannot be known, is an error.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from espresso.datasets.fields import is_missing, optional_text, text, texts
from espresso.datasets.frames import open_shared
from espresso.datasets.rows import RawRow
from espresso.errors import MediaError

FIELDS = ("keyframe_path", "keyframes_path", "core_frames_paths", "core_frame_paths", "core_frame_path", "path")
"""Names of the field of core frames in the versions of the files."""

SUSPICIOUS_COUNT = 3
"""Numbers of a source that must all fit 1 frame per second before that is reported. At 24 frames
per second, three native indices do so by chance once in 14,000 times."""

_CLOCK = re.compile(r"(\d+)-(\d+)-(\d+)-(\d+)$")
"""The end of a name that is a time: hours, minutes, seconds, milliseconds."""

_CLIP_OF_MINUTE = re.compile(r"(.+)_(\d+)_([0-5]?\d)")
"""Name of a clip of Storystream: film, hour, minute."""

_CLIP_OF_SPAN = re.compile(r"#(\d+)-(\d+)-(\d+)_\d+-\d+-\d+")
"""The part of the name of a clip of XD-Violence that is its start and its end in the film."""


def source_of(row: RawRow) -> str:
    """Return the part of the dataset that a row belongs to: the first folder below `all_video`."""
    try:
        name = optional_text(row, "video_path") or next(iter(_names(row)), "")
    except ValueError:  # the row is reported when it is read
        name = ""
    folders = [part for part in Path(name).parent.parts if part != "all_video"]
    return folders[0] if folders else "files without a folder"


@dataclass
class _Source:
    """What was assumed about the names of one source."""

    read_as: Counter[str] = field(default_factory=Counter)
    unresolved: int = 0
    numbers: int = 0
    fit_seconds: int = 0


class FrameNames:
    """Resolves names of core frames, and counts for each source what was assumed.

    Args:
        rate: frames per second at which numbers count if the clip is absent. None makes such
            numbers an error.
    """

    def __init__(self, rate: float | None = None) -> None:
        self._rate = rate
        self._sources = defaultdict[str, _Source](_Source)

    def resolve(self, row: RawRow, clip: Path | None) -> list[tuple[str, float]]:
        """Return the name and the time of each core frame of a row.

        Args:
            row: the row.
            clip: the row's video; None if it is absent.

        Returns:
            Pairs of the name in the row and seconds from the start of the clip.

        Raises:
            ValueError: there are no names, or one lies outside the clip or cannot be resolved.
            MediaError: the clip cannot be opened.
        """
        source = self._sources[source_of(row)]
        try:
            names = _names(row)
            if not names:
                raise ValueError(f"no core frames (none of the fields {', '.join(FIELDS)})")
            found = [(name, *self._time(name, optional_text(row, "video_path"), clip)) for name in names]
        except (ValueError, MediaError):
            source.unresolved += 1
            raise
        source.read_as.update(how for _, _, how in found)
        if clip and (numbers := [int(Path(name).stem) for name, _, _ in found if Path(name).stem.isdecimal()]):
            source.numbers += len(numbers)
            source.fit_seconds += sum(number < open_shared(str(clip)).end for number in numbers)
        return [(name, time) for name, time, _ in found]

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each source: how names were read, and how many rows were not."""
        return tuple(f"{name}: {_describe(source)}" for name, source in sorted(self._sources.items()))

    def _time(self, name: str, clip_name: str, clip: Path | None) -> tuple[float, str]:
        """Return the seconds of a name in the clip, and what was assumed."""
        stem = Path(name).stem
        if clock := _CLOCK.search(stem):
            hours, minutes, seconds, thousandths = map(int, clock.groups())
            return self._clip_time(name, 3600 * hours + 60 * minutes + seconds + thousandths / 1000, clip_name, clip)
        if not stem.isdecimal():
            raise ValueError(f"{name}: the name is neither a number nor a time")
        if clip:
            times = open_shared(str(clip)).times
            if int(stem) >= len(times):
                raise ValueError(f"{name}: the number lies past the end of the clip, which has {len(times)} frames")
            return float(times[int(stem)]), "frame indices of the clip"
        if self._rate is None:
            raise ValueError(f"{name}: the number needs the video, which is missing; or set `rate`")
        return int(stem) / self._rate, f"positions at {self._rate:g} frames per second, because the video is missing"

    def _clip_time(self, name: str, time: float, clip_name: str, clip: Path | None) -> tuple[float, str]:
        """Return the seconds in the clip of a time in its film, and what was assumed."""
        if not clip_name:
            return time, "times from the start of the film, because the rows name no clip"
        start = _start(clip_name, Path(name).stem)
        if start is None:
            raise ValueError(f"{name}: the time counts from the start of the film, and the name of {clip_name} has no start")
        end = open_shared(str(clip)).end if clip else float("inf")
        if not 0 <= time - start < end:
            length = f" and lasts {end:.1f} s" if clip else ""
            raise ValueError(f"{name}: the time lies outside the clip, which starts at {start:g} s of the film{length}")
        return time - start, "times in the film, minus the clip's start in its file name"


def _names(row: RawRow) -> list[str]:
    """Return the file names of a row's core frames; empty if it has none.

    Raises ValueError if one is not text.
    """
    field = next((name for name in FIELDS if not is_missing(row.get(name)) and row[name] != []), None)
    if field is None:
        return []
    return [text(row, field)] if isinstance(row[field], str) else list(texts(row, field))


def _start(clip: str, frame: str) -> float | None:
    """Return the second of the film at which a clip starts, or None if its name does not say."""
    stem = Path(clip).stem
    if span := _CLIP_OF_SPAN.search(stem):
        hours, minutes, seconds = map(int, span.groups())
        return 3600 * hours + 60 * minutes + seconds
    if (minute := _CLIP_OF_MINUTE.fullmatch(stem)) and frame.startswith(f"{minute[1]}_"):
        return 3600 * int(minute[2]) + 60 * int(minute[3])
    return None


def _describe(source: _Source) -> str:
    parts = [f"{count} frame names read as {how}" for how, count in source.read_as.items()]
    if source.numbers >= SUSPICIOUS_COUNT and source.fit_seconds == source.numbers:
        parts.append("all of these numbers fit positions at 1 frame per second too, so compare some frames with their questions")
    if source.unresolved:
        parts.append(f"rows with unresolved frame names: {source.unresolved}")
    return "; ".join(parts)
