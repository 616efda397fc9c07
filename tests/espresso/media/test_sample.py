import sys
from pathlib import Path

import numpy as np
import pytest
from media_clips import number_of, numbered

from espresso import media
from espresso.errors import MediaError
from espresso.media import write_video
from espresso.media.plan import candidates


def scene(count: int, draw=lambda frame, number: None) -> np.ndarray:
    """A flat 224 px picture, drawn upon."""
    frames = np.full((count, 224, 224, 3), (200, 210, 220), np.uint8)
    for number, frame in enumerate(frames):
        draw(frame, number)
    return frames


@pytest.mark.parametrize(
    "text", ["uniform-16", "fps-2-64", "fps-0.5-8", "adaptive-16", "adaptive-16-repeats", "fps-2-64-repeats"]
)
def test_a_plan_reads_back_what_it_writes(text: str):
    assert str(media.parse_plan(text)) == text


@pytest.mark.parametrize("text", ["", "uniform", "uniform-0", "uniform--1", "uniform-4-repeats", "fps-0-8", "fps-2", "all-3"])
def test_a_plan_that_makes_no_sense_is_refused(text: str):
    with pytest.raises(MediaError):
        media.parse_plan(text)


@pytest.mark.parametrize("count", [1, 2, 16, 149, 150])
def test_uniform_gives_exactly_so_many_evenly(clip_path: Path, count: int):
    sampled = media.sample(media.open(clip_path), media.uniform(count))
    indices = [frame.index for frame in sampled.frames]
    assert len(set(indices)) == count
    assert [number_of(pixels) for pixels in sampled.pixels] == indices
    gaps = np.diff(indices)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_uniform_over_fewer_frames_gives_them_all_even_in_a_still_clip():
    sampled = media.sample(media.open(scene(5), fps=10), media.uniform(16))
    assert [frame.index for frame in sampled.frames] == [0, 1, 2, 3, 4]
    assert [frame.time for frame in sampled.frames] == [0, 0.1, 0.2, 0.3, 0.4]


def test_fps_gives_so_many_a_second(clip_path: Path):
    sampled = media.sample(media.open(clip_path), media.fps(2, 64))
    assert [frame.time for frame in sampled.frames] == pytest.approx(np.arange(20) / 2, abs=1 / 15)
    capped = media.sample(media.open(clip_path), media.fps(2, 5))
    assert [frame.index for frame in capped.frames] == pytest.approx([0, 35, 75, 105, 142], abs=8)


def test_a_clip_of_a_fifth_of_a_second_gives_a_frame_by_every_plan(tmp_path: Path):
    write_video(tmp_path / "short.mp4", numbered(3), 15)
    clip = media.open(tmp_path / "short.mp4")
    for plan in (media.uniform(16), media.fps(1, 16), media.adaptive(16)):
        assert len(media.sample(clip, plan).frames) >= 1


def test_adaptive_takes_more_where_more_moves():
    def half_still(frame: np.ndarray, number: int) -> None:
        if number >= 75:
            frame[:] = np.roll(stripes, number * 9, axis=1)

    stripes = np.repeat(np.random.default_rng(0).integers(0, 255, (14, 14, 3), dtype=np.uint8), 16, axis=0).repeat(16, axis=1)
    clip = media.open(scene(150, half_still), fps=15)
    sampled = media.sample(clip, media.adaptive(64, distinct=False))
    times = np.array([frame.time for frame in sampled.frames])
    assert (times < 4).sum() == 4, "1 a second"
    assert (times >= 5).sum() >= 19, "4 a second"
    capped = media.sample(clip, media.adaptive(8))
    assert len(capped.frames) == 8
    assert sum(frame.time > 5 for frame in capped.frames) >= 6


def test_frames_that_show_nothing_new_are_dropped():
    sampled = media.sample(media.open(scene(150), fps=15), media.adaptive(16))
    assert (len(sampled.frames), sampled.dropped) == (1, 9)
    assert len(media.sample(media.open(scene(150), fps=15), media.adaptive(16, distinct=False)).frames) == 10


@pytest.mark.parametrize("through_h264", [False, True])
@pytest.mark.parametrize(
    "colours", [((60, 60, 60), (200, 210, 220)), ((250, 20, 20), (40, 90, 200)), ((60, 60, 60), (90, 60, 60))]
)
@pytest.mark.parametrize("corner", [(3, 5), (101, 99), (200, 204)])
def test_a_20_px_icon_that_changes_is_never_dropped(tmp_path: Path, colours, corner, through_h264: bool):
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


def test_compression_noise_is_nothing_new(tmp_path: Path):
    grain = np.random.default_rng(0)
    noisy = [np.clip(frame + grain.normal(0, 6, frame.shape), 0, 255).astype(np.uint8) for frame in scene(45)]
    write_video(tmp_path / "noisy.mp4", noisy, 15)
    assert len(media.sample(media.open(tmp_path / "noisy.mp4"), media.fps(4, 16)).frames) == 1


def test_a_large_sample_is_the_same_whether_decoded_at_once_or_small_first(clip_path: Path, monkeypatch: pytest.MonkeyPatch):
    clip = media.open(clip_path)
    at_once = media.sample(clip, media.adaptive(16))
    monkeypatch.setattr(sys.modules["espresso.media.sample"], "MAX_BYTES", 0)
    small_first = media.sample(clip, media.adaptive(16))
    assert at_once.frames == small_first.frames
    assert np.array_equal(at_once.pixels, small_first.pixels)


def test_a_long_film_costs_a_bounded_number_of_frames():
    times = np.arange(0, 7200, 1 / 24)
    assert len(candidates(media.adaptive(16), times, 7200.0)) <= 128
