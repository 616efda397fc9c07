"""Sampling plans: which frames of a clip the models see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from espresso.errors import MediaError

Item = TypeVar("Item")

SLICE_S = 1.0
"""Length in seconds of the slices in which adaptive sampling measures motion."""

PER_SLICE = 4
"""Frames that adaptive sampling looks at in each slice; it keeps 1, 2 or 4 of them."""

STATIC, DYNAMIC = 0.5, 4.0
"""Motion thresholds: mean absolute change (0..255) over a quarter of a second.

A scene is static up to STATIC and dynamic above DYNAMIC. Measured on real clips: an empty road
changes by 0.2 to 0.3, a person at work by 2 to 6, a panning camera by 6 to 40. A 30 px shape that
crosses a flat 224 px picture in 3 s changes it by about 1.
"""

SAME = 10
"""Two frames are near-duplicates if no cell mean of a 32x32 grid changes by more (0..255) in any
colour channel."""


@dataclass(frozen=True)
class Plan:
    """A way to sample a clip. `str(plan)` is a stable cache key; `parse_plan` reads it back."""

    kind: Literal["uniform", "fps", "adaptive"]
    """Evenly spaced frames, a constant rate, or a rate that depends on motion."""

    max_frames: int
    """Maximum number of frames; for "uniform" the number itself."""

    rate: float | None = None
    """Frames per second, only for "fps"."""

    distinct: bool = True
    """Drop near-duplicates; not for "uniform"."""

    def __post_init__(self) -> None:
        if self.max_frames < 1:
            raise MediaError(f"invalid sampling plan: {self.max_frames} frames. Use at least one frame.")
        if self.rate is not None and not 0 < self.rate < 1000:
            raise MediaError(f"invalid sampling plan: {self.rate:g} frames per second. Use a rate between 0 and 1000.")

    def __str__(self) -> str:
        rate = f"-{self.rate:g}" if self.rate is not None else ""
        repeats = "-repeats" if self.kind != "uniform" and not self.distinct else ""
        return f"{self.kind}{rate}-{self.max_frames}{repeats}"


def uniform(frames: int) -> Plan:
    """Return a plan for `frames` evenly spaced frames, or all frames if the clip has fewer."""
    return Plan("uniform", frames, distinct=False)


def fps(rate: float, max_frames: int, *, distinct: bool = True) -> Plan:
    """Return a plan for `rate` frames per second, thinned evenly to `max_frames`."""
    return Plan("fps", max_frames, rate, distinct)


def adaptive(max_frames: int, *, distinct: bool = True) -> Plan:
    """Return a plan for 1, 2 or 4 frames per second, depending on motion.

    The frames are thinned evenly to `max_frames` (VideoEspresso, section 3.2).
    """
    return Plan("adaptive", max_frames, distinct=distinct)


def parse_plan(text: str) -> Plan:
    """Parse a plan: "uniform-16", "fps-2-64" or "adaptive-16".

    The suffix "-repeats" keeps near-duplicates; it is valid for the latter two.

    Raises:
        MediaError: the text is not a plan.
    """
    match = re.fullmatch(r"(uniform-|adaptive-|fps-(?P<rate>\d*\.?\d+)-)(?P<frames>\d+)(?P<repeats>-repeats)?", text)
    if not match or (text.startswith("uniform") and match["repeats"]):
        raise MediaError(f"invalid sampling plan {text!r}. Use uniform-16, fps-2-64 (2 per second, at most 64) or adaptive-16.")
    rate = float(match["rate"]) if match["rate"] else None
    kind: Literal["uniform", "fps", "adaptive"] = "fps" if rate else "adaptive" if text.startswith("adaptive") else "uniform"
    return Plan(kind, int(match["frames"]), rate, kind != "uniform" and not match["repeats"])


def evenly_spaced(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` items in order, each from the middle of one of `count` equal stretches.

    Returns all items if there are fewer than `count`.
    """
    count = min(count, len(items))
    return [items[(2 * number + 1) * len(items) // (2 * count)] for number in range(count)]


def candidates(plan: Plan, times: np.ndarray, end: float) -> np.ndarray:
    """Return the frames that `choose` chooses from.

    There are at most eight times `max_frames` candidates, so a film costs little more than a clip.

    Args:
        plan: the sampling plan.
        times: seconds at which the frames are shown, shape (n,), ascending.
        end: second at which the last frame ends.

    Returns:
        Positions in `times`, strictly ascending.
    """
    start, duration = times[0], max(end - times[0], 1e-6)
    if plan.kind == "uniform":
        count = min(plan.max_frames, len(times))
        targets = start + (np.arange(count) + 0.5) * duration / count
        return _strictly_ascending(np.searchsorted(times, targets, side="right") - 1, len(times))
    rate = plan.rate or PER_SLICE / SLICE_S
    count = min(max(1, round(duration * rate)), 2 * PER_SLICE * plan.max_frames)
    # 1e-6: rounding must not move a target before the frame that starts at the same time
    targets = start + np.arange(count) * max(1 / rate, duration / count) + 1e-6
    return np.unique(np.searchsorted(times, targets, side="right") - 1)


def _strictly_ascending(positions: np.ndarray, count: int) -> np.ndarray:
    """Make ascending positions below `count` strictly ascending with minimal changes."""
    steps = np.arange(len(positions))
    forward = np.maximum.accumulate(positions - steps) + steps
    return np.minimum(forward, count - len(positions) + steps)


def choose(plan: Plan, thumbs: np.ndarray) -> tuple[list[int], int]:
    """Choose among the candidates.

    Args:
        plan: the sampling plan.
        thumbs: thumbnails of the m candidates, uint8 of shape (m, 32, 32, 3).

    Returns:
        Positions of the chosen candidates, and the number of near-duplicates that were dropped.
    """
    chosen = list(range(len(thumbs)))
    if plan.kind == "adaptive":
        chosen = by_motion(thumbs)
    before = len(chosen)
    if plan.distinct:
        chosen = distinct(thumbs, chosen)
    dropped = before - len(chosen)
    if len(chosen) > plan.max_frames:
        chosen = [chosen[position] for position in np.linspace(0, len(chosen) - 1, plan.max_frames).round().astype(int)]
    return chosen, dropped


def by_motion(thumbs: np.ndarray) -> list[int]:
    """Keep one of four frames in static slices, two in moderate ones and all four in dynamic ones.

    The motion of a slice is the largest mean absolute change between consecutive frames, up to the
    first frame of the next slice. All colour channels count, because a red shape on a blue
    background of the same brightness has no luma contrast.

    VideoEspresso, section 3.2, uses 1 frame per second for static clips and 2 to 4 for dynamic
    ones. The thresholds are ours.

    Args:
        thumbs: uint8 of shape (m, height, width, 3), a quarter of a second apart (more in long
            clips, see `candidates`).

    Returns:
        Positions of the kept frames.
    """
    change = np.abs(np.diff(thumbs.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    kept: list[int] = []
    for first in range(0, len(thumbs), PER_SLICE):
        motion = change[first : first + PER_SLICE].max(initial=0.0)
        step = 4 if motion <= STATIC else 2 if motion <= DYNAMIC else 1
        kept += range(first, min(first + PER_SLICE, len(thumbs)), step)
    return kept


def distinct(thumbs: np.ndarray, positions: list[int]) -> list[int]:
    """Drop frames that are near-duplicates of the last kept frame.

    The measure is the largest change of a cell mean in any colour channel. The mean over the whole
    picture would miss small objects: a 20 px icon covers 0.8 % of a 224 px picture, so even black
    on white changes the mean by only 2, no more than compression does. The icon covers at least
    one whole cell and usually four. Colour channels instead of luma detect changes of colour at
    equal brightness. Averaging 7x7 pixels (more in larger pictures) suppresses grain and
    compression noise: on static real clips, cell means change by 4 to 8. The comparison with the
    last kept frame lets slow changes add up.

    Args:
        thumbs: thumbnails, uint8 of shape (m, 32, 32, 3).
        positions: ascending positions in `thumbs`.

    Returns:
        The positions to keep.
    """
    kept: list[int] = []
    for position in positions:
        if not kept or np.abs(thumbs[position].astype(np.int16) - thumbs[kept[-1]]).max() > SAME:
            kept.append(position)
    return kept
