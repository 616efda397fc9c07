"""Visuals of pairs as files that can be opened."""

from pathlib import Path

import numpy as np
import pytest

from espresso import media
from espresso.datasets.raiv.media import PairFolder, name_of, render
from espresso.datasets.raiv.situations import VisualReference
from espresso.world import is_world, story
from espresso.world import render as draw


def reference(path, kind="video", span=(2.0, 4.0)):
    return VisualReference(path=path, kind=kind, span=span)


def test_a_part_of_a_video_is_named_as_it_is_opened():
    assert name_of(reference("a/run.mp4")) == "a/run.mp4#t=2,4"
    assert name_of(reference("a/run.jpg", "image", None)) == "a/run.jpg"
    assert name_of(reference("world:test/3")) == "world:test/3#t=2,4"
    assert name_of(reference("world:test/3", "image", (2.5, 2.5))) == "world:test/3@2.5"


@pytest.mark.parametrize("wrong", [reference("world:nowhere/3"), reference("world:test/3", "image", None)])
def test_an_unknown_visual_of_the_world_is_refused(wrong):
    with pytest.raises(ValueError, match="not a visual of the world"):
        name_of(wrong)


def test_visuals_of_the_world_are_rendered_once_as_real_files():
    image, video, other = "world:test/3@2.5", "world:test/3#t=2,4", "world:test/3#t=4,6"
    done = []
    paths = render([image, video, other, "mine.mp4"], lambda *numbers: done.append(numbers))
    assert set(paths) == {image, video, other}
    assert done == [(1, 2), (2, 2)]
    assert paths[video].removesuffix("#t=2,4") == paths[other].removesuffix("#t=4,6")
    frame = media.open(paths[image])
    assert (frame.visual.kind, frame.visual.width, frame.visual.height) == ("image", 224, 224)
    drawn = draw(story("test", 3), 2.5, 224).astype(float)
    assert np.abs(frame.decode([0])[0].astype(float) - drawn).mean() < 3
    part = media.open(paths[video])
    assert part.visual.duration == pytest.approx(2, abs=0.1)
    assert is_world(frame.decode([0]))
    assert is_world(part.decode([0]))
    written = Path(paths[image]).stat().st_mtime_ns
    assert render([image])[image] == paths[image]
    assert Path(paths[image]).stat().st_mtime_ns == written


def test_a_folder_finds_its_files_and_those_of_the_world(tmp_path):
    (tmp_path / "run.mp4").touch()
    folder = PairFolder(tmp_path)
    assert str(folder.find("run.mp4#t=2,4")) == f"{tmp_path}/run.mp4#t=2,4"
    assert folder.find("gone.mp4") is None
    assert media.open(str(folder.find("world:val/0#t=1,2"))).visual.kind == "video"
