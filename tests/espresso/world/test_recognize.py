"""Recognition of the world's pictures: every place and split is accepted, others are refused."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from espresso import media, world
from espresso.world.draw import FLOORS

CLIPS = Path(__file__).parents[3].parent / "shared" / "data" / "video"


def frames_of(split, index, size=112):
    story = world.story(split, index)
    return np.stack([world.render(story, time, size) for time in np.linspace(0, story.duration - 0.1, 8)])


@pytest.mark.parametrize("split", world.SPLITS)
def test_pictures_of_every_place_are_accepted(split):
    assert [index for index in range(15) if not world.is_world(frames_of(split, index))] == []


@pytest.mark.parametrize("size", [64, 96, 224, 480])
def test_pictures_of_every_size_are_accepted(size):
    assert all(world.is_world(frames_of("val", index, size)) for index in (0, 11, 13))


def test_pictures_of_low_quality_are_accepted():
    for index in (0, 11, 13):
        buffer = io.BytesIO()
        Image.fromarray(frames_of("val", index, 224)[3]).save(buffer, "JPEG", quality=15)
        assert world.is_world(media.open(buffer.getvalue()).decode([0], size=112))


@pytest.mark.parametrize("name", [
    "askanything_making_cake.mp4", "intel_car-detection.mp4", "mdn_flower.webm", "moviepy_chaplin.mp4",
    "torchcodec_nasa_13013_hdr.mp4", "torchcodec_testsrc2_vp9.webm",
])  # fmt: skip
def test_real_clips_are_refused(name):
    if not CLIPS.is_dir():
        pytest.skip(f"no clips in {CLIPS}")
    clip = media.open(CLIPS / name)
    assert not world.is_world(clip.decode([0, len(clip.times) // 2], size=112))


def test_other_pictures_are_refused():
    drawn = frames_of("val", 0)[:1]
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    plain = [np.full((112, 112, 3), colour, np.uint8) for colour in (*FLOORS, (0, 0, 0), (255, 255, 255))]
    for picture in (noise, *plain, drawn[0, ::-1], 255 - drawn[0]):
        assert not world.is_world(picture[None])


def test_one_foreign_frame_is_enough_to_refuse():
    frames = frames_of("val", 0)
    assert world.is_world(frames)
    frames[-1] = 255 - frames[-1]
    assert not world.is_world(frames)
