"""Pick frames by relevance, spread over time: relevance traded against coverage.

Of the remaining frames, the most relevant one is taken that keeps a distance in time from those
that were taken before, as in the spacing of AKS (Tang et al., "Adaptive Keyframe Sampling for Long
Video Understanding", CVPR 2025).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GAP = 0.3
"""Least distance between two frames, as a share of duration / budget."""


def pick(
    relevance: np.ndarray,
    times: Sequence[float],
    budget: int,
    *,
    taken: Sequence[float] = (),
    same: np.ndarray | None = None,
) -> list[int]:
    """Return the positions of the picked frames, the most relevant first.

    Args:
        relevance: one value per frame, shape (n,); -inf for frames that must not be picked.
        times: seconds of the frames of one visual, ascending, shape (n,).
        budget: most frames to pick.
        taken: times of frames that were taken before; the distance is kept from them too.
        same: whether each frame shows the same as the one before it, shape (n,); of a run of such
            frames only one is picked.
    """
    moments = np.asarray(times, dtype=float)
    allowed = np.isfinite(relevance)
    if not allowed.any() or budget < 1:
        return []
    gap = GAP * duration(moments) / budget
    for time in taken:
        allowed &= np.abs(moments - time) >= gap
    runs = np.cumsum(~same) if same is not None else np.arange(len(moments))
    picked: list[int] = []
    while allowed.any() and len(picked) < budget:
        best = int(np.where(allowed, relevance, -np.inf).argmax())
        picked.append(best)
        allowed &= (np.abs(moments - moments[best]) >= gap) & (runs != runs[best])
        allowed[best] = False
    return picked


def duration(times: np.ndarray) -> float:
    """Return the seconds that frames at ascending times stand for: each until the next one."""
    if len(times) < 2:
        return 1.0
    return float(times[-1] - times[0] + np.median(np.diff(times)))
