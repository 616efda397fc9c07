"""Sampling plans: which frames of a clip a model gets to see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from espresso.errors import MediaError

SLICE_S = 1.0
PER_SLICE = 4
"""Adaptive sampling looks at 4 frames a second and keeps 1, 2 or 4 of each second."""

LITTLE, MUCH = 0.5, 4.0
"""Mean absolute change (0..255) over a quarter of a second: up to LITTLE is a static scene, over MUCH a dynamic one.

Measured on the real clips: an empty road changes by 0.2 to 0.3, a person at work by 2 to 6, a panning camera by 6 to 40;
a 30 px shape that crosses a flat 224 px picture in 3 s changes it by about 1.
"""

CHANGE = 10
"""Two frames show the same thing when none of 32x32 cells, in no colour channel, changes its mean by more than this (0..255)."""


@dataclass(frozen=True)
class Plan:
    """A way to sample a clip; `str(plan)` reads it out and is a stable cache key, `parse_plan` reads it back.

    max_frames: the cap (for uniform, the count). rate: frames a second, for fps only. distinct: near-duplicates are dropped.
    """

    kind: Literal["uniform", "fps", "adaptive"]
    max_frames: int
    rate: float | None = None
    distinct: bool = True

    def __post_init__(self) -> None:
        if self.max_frames < 1:
            raise MediaError(f"a sampling plan of {self.max_frames} frames shows nothing. Ask for one frame or more.")
        if self.rate is not None and not 0 < self.rate < 1000:
            raise MediaError(f"a sampling rate of {self.rate:g} frames a second is impossible. Give one between 0 and 1000.")

    def __str__(self) -> str:
        rate = f"-{self.rate:g}" if self.rate is not None else ""
        repeats = "-repeats" if self.kind != "uniform" and not self.distinct else ""
        return f"{self.kind}{rate}-{self.max_frames}{repeats}"


def uniform(frames: int) -> Plan:
    """Exactly `frames` frames (or all, if the clip has fewer), spread evenly over its time."""
    return Plan("uniform", frames, distinct=False)


def fps(rate: float, max_frames: int, *, distinct: bool = True) -> Plan:
    """`rate` frames a second from the first frame on, thinned evenly to `max_frames`."""
    return Plan("fps", max_frames, rate, distinct)


def adaptive(max_frames: int, *, distinct: bool = True) -> Plan:
    """1 frame a second where little moves, 2 or 4 where more does (VideoEspresso, section 3.2), thinned to `max_frames`."""
    return Plan("adaptive", max_frames, distinct=distinct)


def parse_plan(text: str) -> Plan:
    """Read a plan: "uniform-16", "fps-2-64", "adaptive-16", the latter two also with "-repeats". Raises MediaError."""
    found = re.fullmatch(r"(uniform-|adaptive-|fps-(?P<rate>\d*\.?\d+)-)(?P<frames>\d+)(?P<repeats>-repeats)?", text)
    if not found or (text.startswith("uniform") and found["repeats"]):
        raise MediaError(
            f"sampling plan {text!r} is not known. Write uniform-16, fps-2-64 (2 a second, 64 at most) or adaptive-16."
        )
    rate = float(found["rate"]) if found["rate"] else None
    kind: Literal["uniform", "fps", "adaptive"] = "fps" if rate else "adaptive" if text.startswith("adaptive") else "uniform"
    return Plan(kind, int(found["frames"]), rate, kind != "uniform" and not found["repeats"])


def candidates(plan: Plan, times: np.ndarray, end: float) -> np.ndarray:
    """Name the frames to look at, of which `choose` keeps some: positions, ascending, each once.

    times: (n,) seconds of the frames, ascending. end: seconds, when the last one ends. At most eight times as many frames are
    looked at as the cap lets through, so that a film costs little more than a clip.
    """
    start, duration = times[0], max(end - times[0], 1e-6)
    if plan.kind == "uniform":
        count = min(plan.max_frames, len(times))
        wished = start + (np.arange(count) + 0.5) * duration / count
        return _each_once(np.searchsorted(times, wished, side="right") - 1, len(times))
    rate = plan.rate or PER_SLICE / SLICE_S
    count = min(max(1, round(duration * rate)), 2 * PER_SLICE * plan.max_frames)
    wished = start + np.arange(count) * max(1 / rate, duration / count) + 1e-6  # past rounding, where a frame starts just there
    return np.unique(np.searchsorted(times, wished, side="right") - 1)


def _each_once(positions: np.ndarray, count: int) -> np.ndarray:
    """Ascending positions made strictly ascending below `count`, each moved as little as that needs (variable frame rates)."""
    steps = np.arange(len(positions))
    forward = np.maximum.accumulate(positions - steps) + steps
    return np.minimum(forward, count - len(positions) + steps)


def choose(plan: Plan, thumbs: np.ndarray) -> tuple[list[int], int]:
    """Say which candidates to keep, given their (m, 32, 32, 3) uint8 thumbnails, and how many near-duplicates were dropped."""
    kept = list(range(len(thumbs)))
    if plan.kind == "adaptive":
        kept = by_motion(thumbs)
    before = len(kept)
    if plan.distinct:
        kept = distinct(thumbs, kept)
    dropped = before - len(kept)
    if len(kept) > plan.max_frames:
        kept = [kept[which] for which in np.linspace(0, len(kept) - 1, plan.max_frames).round().astype(int)]
    return kept, dropped


def by_motion(thumbs: np.ndarray) -> list[int]:
    """Of every four frames keep one where little moves, two where some does, all four where much does.

    thumbs: (m, height, width, 3) uint8, a quarter of a second apart (more in a long clip, see `candidates`). The motion of four
    frames is the largest mean absolute change from one of them to the next, the following four's first included; over the colour
    channels, since a red shape on blue of the same brightness moves unseen by luma.
    VideoEspresso, section 3.2: 1 frame a second for static clips, 2 to 4 for dynamic ones; the thresholds are ours.
    """
    change = np.abs(np.diff(thumbs.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    kept: list[int] = []
    for first in range(0, len(thumbs), PER_SLICE):
        motion = change[first : first + PER_SLICE].max(initial=0.0)
        step = 4 if motion <= LITTLE else 2 if motion <= MUCH else 1
        kept += range(first, min(first + PER_SLICE, len(thumbs)), step)
    return kept


def distinct(thumbs: np.ndarray, positions: list[int]) -> list[int]:
    """Keep those of `positions` that show something new since the last one kept.

    The measure is the largest change of any of 32x32 cell means in any colour channel. A mean over the picture would be blind to
    what matters here: a 20 px icon on a 224 px picture is 0.8 % of it, so even black on white moves the mean by 2, no more than
    compression does, while it turns at least one whole cell over, and most often four. Channels rather than luma, so that a shape
    which changes colour at equal brightness counts. Averaging 7x7 pixels (more in larger pictures) hides grain and compression:
    cell means moved by 4 to 8 on the static real clips. Comparing to the last frame kept lets slow changes add up.
    """
    kept: list[int] = []
    for position in positions:
        if not kept or np.abs(thumbs[position].astype(np.int16) - thumbs[kept[-1]]).max() > CHANGE:
            kept.append(position)
    return kept
