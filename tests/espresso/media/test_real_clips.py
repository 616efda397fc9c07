"""The real clips, of many codecs and defects: the same frame at the same time as PyAV gives when it decodes everything."""

import warnings
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import REAL
from PIL import Image

from espresso import media

CLIPS = sorted(REAL.iterdir()) if REAL.is_dir() else []
SHORT = (
    "imageio_realshort.mp4",
    "internvid_example1.mp4",
    "mdn_flower.webm",
    "mmaction2_test.avi",
    "moviepy_fire2.mp4",
    "torchcodec_av1_video.mkv",
    "torchcodec_h265_video.mp4",
    "torchcodec_nasa_13013_rotated.mp4",
    "torchcodec_testsrc2_vp9.webm",
)
"""Whole, and of at most 200 frames: a hundred are most of them, which Decord decodes."""


def decoded_by_pyav(path: Path, every: int) -> tuple[list[float], dict[int, np.ndarray]]:
    """Times of all frames up to the first error, and some of the frames at 64x64."""
    times, frames = [], {}
    with av.open(str(path)) as container:
        try:
            for number, frame in enumerate(container.decode(video=0)):
                times.append(float(frame.time))
                if number % every == 0:
                    upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                    frames[number] = np.asarray(Image.fromarray(upright).resize((64, 64), Image.Resampling.BOX))
        except av.FFmpegError:
            pass
    return times, frames


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.name)
def test_the_same_frame_at_the_same_time(real: Path, path: Path):
    times, frames = decoded_by_pyav(path, 23)
    clip = media.open(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampled = media.sample(clip, media.uniform(12))
    assert len(sampled.frames) == min(12, len(times))
    assert len(clip.times) == len(times)
    assert clip.times == pytest.approx(np.sort(times), abs=1e-6)
    pixels = clip.decode(sorted(frames), size=(64, 64))
    for ours, theirs in zip(pixels, frames.values(), strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 3


@pytest.mark.parametrize("name", SHORT)
def test_decord_and_pyav_agree_where_most_frames_are_wanted(real: Path, name: str):
    clip = media.open(real / name)
    count = min(len(clip.times), 100)
    assert len(clip.times) <= 2 * count
    many = clip.decode(range(count), size=(64, 64))
    few = clip.decode(range(0, count, 9), size=(64, 64))
    assert max(np.abs(many[::9].astype(int) - few).mean(axis=(1, 2, 3))) < 1


def test_a_damaged_clip_gives_the_frames_before_the_damage(real: Path):
    clip = media.open(real / "decord_corrupted.mp4")
    with pytest.warns(UserWarning, match="damaged: 28 of its 50 frames can be decoded"):
        sampled = media.sample(clip, media.uniform(16))
    assert sampled.note == "damaged: 28 of its 50 frames can be decoded"
    assert len(sampled.frames) == 16
    assert sampled.frames[-1].time <= 2.7
    assert clip.visual.frame_count == 28
