"""Pick frames that are likely to show what is asked, spread over time.

Frames near each other usually show the same, so a second one adds little: the frame picked next is
the one most likely to show what is asked if those before do not. With frames at the times t and s
that chance is taken to fall by 1 - exp(-|t - s| / (SPREAD * duration)).

AKS (Tang et al., "Adaptive Keyframe Sampling for Long Video Understanding", CVPR 2025) also trades
relevance against coverage, and splits the video instead. A fixed distance between frames would
prefer an unlikely frame to a likely one that is a little nearer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SPREAD = 0.12
"""Time over which frames show the same, as a share of the duration of the visual."""


def pick(
    log_odds: np.ndarray,
    times: Sequence[float],
    budget: int,
    *,
    taken: Sequence[float] = (),
    same: np.ndarray | None = None,
) -> list[int]:
    """Return the positions of the picked frames, in the order in which they were picked.

    Args:
        log_odds: of each frame, that it shows what is asked, shape (n,); -inf for frames that must
            not be picked.
        times: seconds of the frames of one visual, ascending, shape (n,).
        budget: most frames to pick.
        taken: times of frames that were taken before; they are not picked again.
        same: whether each frame shows the same as the one before it, shape (n,); of a run of such
            frames only one is picked.
    """
    moments = np.asarray(times, dtype=float)
    allowed = np.isfinite(log_odds)
    if not allowed.any() or budget < 1:
        return []
    chance = np.exp(-np.logaddexp(0.0, -np.where(allowed, log_odds, 0.0)))
    spread = SPREAD * duration(moments)
    for time in taken:
        allowed &= moments != time
        chance *= _apart(moments, time, spread)
    runs = np.cumsum(~same) if same is not None else np.arange(len(moments))
    picked: list[int] = []
    while allowed.any() and len(picked) < budget:
        best = int(np.where(allowed, chance, -1.0).argmax())
        picked.append(best)
        allowed &= runs != runs[best]
        chance *= _apart(moments, moments[best], spread)
    return picked


def duration(times: np.ndarray) -> float:
    """Return the seconds that frames at ascending times stand for: each until the next one."""
    if len(times) < 2:
        return 1.0
    return float(times[-1] - times[0] + np.median(np.diff(times)))


def _apart(moments: np.ndarray, time: float, spread: float) -> np.ndarray:
    factor: np.ndarray = 1 - np.exp(-np.abs(moments - time) / spread)
    return factor
