"""Situations of the procedural world."""

import numpy as np

from espresso.datasets.raiv import world as reader
from espresso.world import story


def test_an_act_is_an_image_at_its_middle_and_a_video_of_its_length():
    image, video = reader.read(("image", "video"), {"train": 1}).situations[:2]
    act = story("train", 0).beats[0]
    assert image.visual.path == video.visual.path == "world:train/0"
    assert image.visual.span == (round((act.start + act.end) / 2, 3),) * 2
    assert video.visual.span == (round(act.start, 3), round(act.end, 3))
    assert (image.verb, image.roles, image.objects) == (video.verb, video.roles, video.objects)


def test_who_acts_is_among_the_objects(world_situations):
    acting = [each for each in world_situations if each.roles]
    assert len(acting) > 1000
    assert all({*each.roles.values()} <= {*each.objects} for each in acting)


def test_splits_are_those_of_the_stories(world_situations):
    assert {each.split for each in world_situations} == {"train", "val", "test"}
    assert all(each.visual.path.startswith(f"world:{each.split}/") for each in world_situations)


def test_frames_are_rendered_when_they_are_needed():
    image, video = reader.read(("image", "video"), {"val": 1}).situations[:2]
    assert len(reader.frames(image.visual, 4)) == 1
    frames = reader.frames(video.visual, 4)
    assert len(frames) == 4
    assert all(video.visual.span[0] < frame.time < video.visual.span[1] for frame in frames)
    pixels = frames[0].pixels(56)
    assert pixels.shape == (56, 56, 3)
    assert pixels.dtype == np.uint8
