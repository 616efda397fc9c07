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
from espresso.datasets.world import RenderedFrame
from espresso.media import segment_source
from espresso.world import Split

_WORLD = re.compile(r"world:(train|val|test)/(\d+)(?:(\+[a-z]+-[a-z]+=[a-z]+-[a-z]+)?@([\d.]+)|(#t=[\d.,]+))?")
"""Split and index of the story; edit and time of an image, or segment of a video."""


def name_of(visual: VisualReference) -> str:
    """Return a visual as one text: `run.mp4#t=2,4`, `world:test/12#t=2,4` or `world:test/12@3.5`.

    The latter is the frame of a story of the world at 3.5 s; `world:test/12+red-car=blue-car@3.5`
    is that of an edited story.

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
    frames, clips = defaultdict[Split, dict[RenderedFrame, None]](dict), defaultdict[Split, dict[int, None]](dict)
    for match in found.values():
        split, index = cast(Split, match[1]), int(match[2])
        if match[4]:
            frames[split][_frame(match)] = None
        else:
            clips[split][index] = None
    total, done = sum(map(len, clips.values())) + sum(map(len, frames.values())), 0

    def report(number: int, _: int) -> None:
        if on_clip:
            on_clip(done + number, total)

    images, videos = dict[RenderedFrame, Path](), dict[tuple[Split, int], Path]()
    for split, indices in clips.items():
        videos |= {(split, index): path for index, path in world.clips(split, list(indices), report).items()}
        done += len(indices)
    for split, wanted in frames.items():
        images |= world.frames(split, list(wanted), report)
        done += len(wanted)
    paths = dict[str, str]()
    for name, match in found.items():
        video = videos.get((cast(Split, match[1]), int(match[2])))
        paths[name] = str(images[_frame(match)]) if match[4] else f"{video}{match[5] or ''}"
    return paths


class PairFolder(VideoFolder):
    """A folder of images and videos, in which the visuals of the world are found too."""

    def find(self, name: str) -> Path | None:
        """Return the path of a visual, see `VideoFolder.find`; one of the world is rendered."""
        return Path(render([name])[name]) if _WORLD.fullmatch(name) else super().find(name)


def _frame(match: re.Match[str]) -> RenderedFrame:
    """Return the frame that an image shows."""
    return RenderedFrame(cast(Split, match[1]), int(match[2]), float(match[4]), (match[3] or "").removeprefix("+"))
