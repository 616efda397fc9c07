"""Clips on disk: mp4 files with questions and ground truth."""

import json

import numpy as np
import pytest

from espresso import media, world
from espresso.errors import DataError


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "test"
    return folder, world.make("test", 4, folder, workers=1)


def test_a_question_refers_to_its_clip(written):
    _, questions = written
    clip = media.open(questions[0].visuals[0])
    assert (clip.visual.width, clip.visual.height) == (224, 224)
    assert clip.comment == world.COMMENT
    assert questions[0].truth.spans[-1].end < clip.visual.duration


def test_the_clip_shows_the_rendered_frames(written):
    _, questions = written
    story = world.story("test", 0)
    clip = media.open(questions[0].visuals[0])
    middle = len(clip.times) // 2
    drawn = world.render(story, float(clip.times[middle]), 224).astype(float)
    assert np.abs(clip.decode([middle])[0].astype(float) - drawn).mean() < 3


def test_boxes_contain_the_named_things(written):
    folder, questions = written
    truth = json.loads((folder / "clips" / "test-00000.json").read_text())
    clip = media.open(questions[0].visuals[0])
    frame = truth["frames"][0]
    pixels = clip.decode([0])[0].astype(int)
    for name, (x0, y0, x1, y1) in frame["boxes"].items():
        colour = np.array(world.cast.COLOURS[name.split()[0]])
        centre = pixels[int((y0 + y1) / 2), int((x0 + x1) / 2)]
        assert np.abs(centre - colour).max() < 40, name


def test_existing_clips_are_kept(written):
    folder, questions = written
    clip = folder / "clips" / "test-00000.mp4"
    before = clip.stat().st_mtime_ns
    assert world.make("test", 4, folder, workers=1) == questions
    assert clip.stat().st_mtime_ns == before


def test_a_folder_of_another_split_is_rejected(written):
    folder, _ = written
    with pytest.raises(DataError, match="Use another --out"):
        world.make("train", 4, folder)


def test_a_foreign_folder_is_rejected(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="was not created by this command"):
        world.make("test", 4, tmp_path)


def test_error_for_an_invalid_line_names_it(tmp_path):
    (tmp_path / "questions.jsonl").write_text('{"id": "x"')
    with pytest.raises(DataError, match="line 1"):
        world.load(tmp_path)


def test_demo_clip_has_three_questions_of_different_tasks(tmp_path):
    questions = world.demo_clip(tmp_path / "demo.mp4", seed=3)
    assert len({question.task for question in questions}) == 3
    assert media.open(tmp_path / "demo.mp4").comment == world.COMMENT
