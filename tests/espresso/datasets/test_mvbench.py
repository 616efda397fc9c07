import pytest

from espresso import media
from espresso.datasets import get_dataset

ROW = {"video": "166583.webm", "question": "What is moved?", "candidates": ["a cup", "a pen"], "answer": "a pen"}


def test_a_row_is_a_question(files):
    source = files([ROW], "moving.json", "ssv2/166583.webm")
    (question,) = get_dataset("mvbench").load("test", None, source).questions
    assert (question.text, question.options, question.answer) == ("What is moved?", ("a cup", "a pen"), "a pen")
    assert question.visuals == (str(source.videos / "ssv2/166583.webm"),)


def test_a_question_with_start_and_end_is_about_this_part_of_the_video(files):
    rows = [ROW | {"start": 0.0, "end": 2.0}, ROW | {"start": 2, "end": "2.55"}, ROW | {"start": None, "end": 1}]
    source = files(rows, "moving.json", "ssv2/166583.webm")
    questions = get_dataset("mvbench").load("test", None, source).questions
    video = source.videos / "ssv2/166583.webm"
    assert [question.visuals for question in questions] == [(f"{video}#t=0,2",), (f"{video}#t=2,2.55",), (f"{video}#t=,1",)]
    assert [len(media.open(question.visuals[0]).times) for question in questions] == [20, 6, 10]


def test_training_examples_are_frames_of_the_part(files, frame_number):
    source = files([ROW | {"start": 1.0, "end": 2.0}], "moving.json", "166583.webm")
    (example,) = get_dataset("mvbench").examples(source, uniform=4, evidence=False).examples
    assert all(10 <= frame_number(frame) < 20 for frame in example.frames)
    assert len(example.frames) == 4


@pytest.mark.parametrize(
    ("times", "why"),
    [
        ({"start": 4.0, "end": 2.0}, "the part of the video is empty, from 4 s to 2 s"),
        ({"start": "soon", "end": 2.0}, "the field 'start' is 'soon', not a time in seconds"),
        ({"start": 0, "end": -1}, "the field 'end' is '-1', not a time in seconds"),
    ],
)
def test_a_part_that_is_none_is_a_bad_row(files, times, why):
    source = files([ROW, ROW | times], "moving.json", "166583.webm")
    loaded = get_dataset("mvbench").load("test", None, source)
    assert [str(bad) for bad in loaded.bad] == [f"moving.json, row 2: {why}"]


def test_a_missing_video_is_named_once_whatever_the_parts_are(files):
    rows = [ROW, ROW | {"start": 0.0, "end": 2.0, "video": "gone.mp4"}, ROW | {"start": 2.0, "end": 4.0, "video": "gone.mp4"}]
    loaded = get_dataset("mvbench").load("test", None, files(rows, "moving.json", "166583.webm"))
    assert (len(loaded.questions), loaded.missing) == (1, ("gone.mp4",))
