"""Sampling clips: uniform, constant-rate and adaptive plans, and near-duplicates."""

import sys
from pathlib import Path

import numpy as np
import pytest
from media_clips import number_of, numbered

from espresso import media
from espresso.media import write_video


def scene(count: int, draw=lambda frame, number: None) -> np.ndarray:
    """Return flat 224 px frames with a drawing on each."""
    frames = np.full((count, 224, 224, 3), (200, 210, 220), np.uint8)
    for number, frame in enumerate(frames):
        draw(frame, number)
    return frames


@pytest.mark.parametrize("count", [1, 2, 16, 149, 150])
def test_uniform_gives_the_exact_number_of_evenly_spaced_frames(clip_path: Path, count: int):
    sampled = media.sample(media.open(clip_path), media.uniform(count))
    indices = [frame.index for frame in sampled.frames]
    assert len(set(indices)) == count
    assert [number_of(pixels) for pixels in sampled.pixels] == indices
    gaps = np.diff(indices)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_uniform_gives_all_frames_of_a_shorter_clip():
    sampled = media.sample(media.open(scene(5), fps=10), media.uniform(16))
    assert [frame.index for frame in sampled.frames] == [0, 1, 2, 3, 4]
    assert [frame.time for frame in sampled.frames] == [0, 0.1, 0.2, 0.3, 0.4]


def test_fps_gives_a_constant_rate(clip_path: Path):
    sampled = media.sample(media.open(clip_path), media.fps(2, 64))
    assert [frame.time for frame in sampled.frames] == pytest.approx(np.arange(20) / 2, abs=1 / 15)
    capped = media.sample(media.open(clip_path), media.fps(2, 5))
    assert [frame.index for frame in capped.frames] == pytest.approx([0, 35, 75, 105, 142], abs=8)


def test_every_plan_gives_a_frame_of_a_very_short_clip(tmp_path: Path):
    write_video(tmp_path / "short.mp4", numbered(3), 15)
    clip = media.open(tmp_path / "short.mp4")
    for plan in (media.uniform(16), media.fps(1, 16), media.adaptive(16)):
        assert len(media.sample(clip, plan).frames) >= 1


def test_adaptive_samples_dynamic_parts_more_densely():
    def half_still(frame: np.ndarray, number: int) -> None:
        if number >= 75:
            frame[:] = np.roll(stripes, number * 9, axis=1)

    stripes = np.repeat(np.random.default_rng(0).integers(0, 255, (14, 14, 3), dtype=np.uint8), 16, axis=0).repeat(16, axis=1)
    clip = media.open(scene(150, half_still), fps=15)
    sampled = media.sample(clip, media.adaptive(64, distinct=False))
    times = np.array([frame.time for frame in sampled.frames])
    assert (times < 4).sum() == 4, "1 per second"
    assert (times >= 5).sum() >= 19, "4 per second"
    capped = media.sample(clip, media.adaptive(8))
    assert len(capped.frames) == 8
    assert sum(frame.time > 5 for frame in capped.frames) >= 6


def test_near_duplicates_are_dropped():
    sampled = media.sample(media.open(scene(150), fps=15), media.adaptive(16))
    assert (len(sampled.frames), sampled.dropped) == (1, 9)
    assert len(media.sample(media.open(scene(150), fps=15), media.adaptive(16, distinct=False)).frames) == 10


@pytest.mark.parametrize("through_h264", [False, True])
@pytest.mark.parametrize(
    "colours", [((60, 60, 60), (200, 210, 220)), ((250, 20, 20), (40, 90, 200)), ((60, 60, 60), (90, 60, 60))]
)
@pytest.mark.parametrize("corner", [(3, 5), (101, 99), (200, 204)])
def test_change_of_a_20_px_icon_is_kept(tmp_path: Path, colours, corner, through_h264: bool):
    def icon(frame: np.ndarray, number: int) -> None:
        frame[corner[0] : corner[0] + 20, corner[1] : corner[1] + 20] = colours[number >= 75]

    frames = scene(150, icon)
    if through_h264:
        write_video(tmp_path / "icon.mp4", frames, 15)
    clip = media.open(tmp_path / "icon.mp4") if through_h264 else media.open(frames, fps=15)
    for plan in (media.adaptive(16), media.fps(1, 16)):
        times = [frame.time for frame in media.sample(clip, plan, size=224).frames]
        assert len(times) >= 2
        assert times[0] < 5 <= times[1]


def test_compression_noise_is_no_change(tmp_path: Path):
    grain = np.random.default_rng(0)
    noisy = [np.clip(frame + grain.normal(0, 6, frame.shape), 0, 255).astype(np.uint8) for frame in scene(45)]
    write_video(tmp_path / "noisy.mp4", noisy, 15)
    assert len(media.sample(media.open(tmp_path / "noisy.mp4"), media.fps(4, 16)).frames) == 1


def test_large_clips_are_sampled_like_small_ones(clip_path: Path, monkeypatch: pytest.MonkeyPatch):
    clip = media.open(clip_path)
    at_once = media.sample(clip, media.adaptive(16))
    monkeypatch.setattr(sys.modules["espresso.media.sample"], "MAX_BYTES", 0)
    small_first = media.sample(clip, media.adaptive(16))
    assert at_once.frames == small_first.frames
    assert np.array_equal(at_once.pixels, small_first.pixels)
