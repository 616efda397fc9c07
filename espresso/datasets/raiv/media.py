"""The visuals of pairs as files: those of the world are rendered into the cache folder."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from espresso.datasets import world
from espresso.datasets.raiv.situations import VisualReference
from espresso.datasets.videos import VideoFolder
from espresso.media import segment_source
from espresso.world import Split

_WORLD = re.compile(r"world:(train|val|test)/(\d+)(?:@([\d.]+)|(#t=[\d.,]+))?")
"""Split, index of the story, and time of an image or segment of a video."""


def name_of(visual: VisualReference) -> str:
    """Return a visual as one text: `run.mp4#t=2,4`, `world:test/12#t=2,4` or `world:test/12@3.5`.

    The latter is the frame of a story of the world at 3.5 s.

    Raises:
        ValueError: it is not a story of the world, or an image of one without a time.
    """
    start, end = visual.span or (None, None)
    if not visual.path.startswith("world:"):
        return segment_source(visual.path, start, end)
    name = f"{visual.path}@{start}" if visual.kind == "image" else segment_source(visual.path, start, end)
    if not _WORLD.fullmatch(name) or (visual.kind == "image" and start is None):
        raise ValueError(f"{visual.path!r} is not a visual of the world, such as 'world:test/12' with a span")
    return name


def render(names: Iterable[str], on_clip: Callable[[int, int], None] | None = None) -> dict[str, str]:
    """Render visuals of the world that are not in the cache folder yet, each clip once.

    An image becomes a PNG file, a video the part of a clip: `test-00012.mp4#t=2,4`.

    Args:
        names: names of visuals, see `name_of`; those of other visuals are left out.
        on_clip: called with (files done, all files) while files are rendered.

    Returns:
        Name -> path.

    Raises:
        DataError: the files cannot be written.
    """
    found = {name: match for name in names if (match := _WORLD.fullmatch(name))}
    frames, clips = defaultdict[Split, dict[tuple[int, float], None]](dict), defaultdict[Split, dict[int, None]](dict)
    for split, index, time, _ in map(_parts, found.values()):
        if time is None:
            clips[split][index] = None
        else:
            frames[split][index, time] = None
    total, done = sum(map(len, clips.values())) + sum(map(len, frames.values())), 0

    def report(number: int, _: int) -> None:
        if on_clip:
            on_clip(done + number, total)

    images, videos = dict[tuple[Split, int, float], Path](), dict[tuple[Split, int], Path]()
    for split, indices in clips.items():
        videos |= {(split, index): path for index, path in world.clips(split, list(indices), report).items()}
        done += len(indices)
    for split, wanted in frames.items():
        images |= {(split, *key): path for key, path in world.frames(split, list(wanted), report).items()}
        done += len(wanted)
    paths = dict[str, str]()
    for name, match in found.items():
        split, index, time, segment = _parts(match)
        paths[name] = f"{videos[split, index]}{segment}" if time is None else str(images[split, index, time])
    return paths


class PairFolder(VideoFolder):
    """A folder of images and videos, in which the visuals of the world are found too."""

    def find(self, name: str) -> Path | None:
        """Return the path of a visual, see `VideoFolder.find`; one of the world is rendered."""
        return Path(render([name])[name]) if _WORLD.fullmatch(name) else super().find(name)


def _parts(match: re.Match[str]) -> tuple[Split, int, float | None, str]:
    """Return split, index, time of an image and segment of a video."""
    return cast(Split, match[1]), int(match[2]), float(match[3]) if match[3] else None, match[4] or ""
