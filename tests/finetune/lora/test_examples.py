"""Files to learn from: our records, the authors' two train files, the world; bad rows are told and left out."""

import json

import numpy as np
import pytest
from PIL import Image

from espresso import media, world
from espresso.errors import DataError
from espresso.schema import Frame, KeyItem, Question, Span, Truth
from finetune.config import Records, VideoEspresso, World
from finetune.lora.examples import grounded, load


@pytest.fixture
def film(tmp_path):
    """A video of 30 frames at 10 a second, 64 x 48, each of its own grey."""
    path = tmp_path / "all_video" / "CUVA" / "7.mp4"
    path.parent.mkdir(parents=True)
    media.write_video(path, (np.full((48, 64, 3), 8 * number, np.uint8) for number in range(30)), 10)
    return path


@pytest.fixture
def authors(tmp_path, film):
    """Write the authors' train file of some rows, and read it."""

    def read(*rows, rate=None):
        path = tmp_path / "videoespresso_train_video.json"
        path.write_text(json.dumps(rows))
        return load(VideoEspresso(format="videoespresso", path=path, root=tmp_path, rate=rate))

    return read


def row(**changes):
    return {
        "keyframe_path": ["CUVA/7_image/5.jpg", "CUVA/7_image/20.jpg"],
        "question": "Why does it brake?",
        "answer": "Because a dog runs out.",
        "task": "Causal Inference",
        "video_path": "all_video/CUVA/7.mp4",
        "evidence": "A <obj_start>dog<obj_end><box_start>[[16, 12, 32, 24]]<box_end> runs before the <obj_start>car<obj_end>.",
    } | changes


def test_the_video_version_finds_its_frames_in_the_video(authors):
    (example,) = authors(row()).examples
    assert (example.question, example.answer) == ("Why does it brake?", "Because a dog runs out.")
    assert [round(shot.time, 2) for shot in example.shots] == [0.5, 2.0]
    assert [int(shot.pixels(64).mean().round(-1)) for shot in example.shots] == [40, 160]


def test_the_multi_image_version_takes_the_image_files(authors, tmp_path):
    (tmp_path / "a").mkdir()
    for number in (3, 4):
        Image.new("RGB", (40, 20), (60 * number, 0, 0)).save(tmp_path / "a" / f"{number}.png")
    old = row(path=["a/3.png", "a/4.png"], keyframe_path=None, video_path=None, evidence="A dog.")
    (example,) = authors(old, rate=2.0).examples
    assert [shot.time for shot in example.shots] == [1.5, 2.0]
    assert example.shots[0].pixels(40).shape == (20, 40, 3)


def test_a_frame_name_that_is_a_clock_tells_its_time(authors, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "000027_keyframe_1-38-11-958.jpg")
    (example,) = authors(row(keyframe_path="000027_keyframe_1-38-11-958.jpg", evidence="A dog.")).examples
    assert example.shots[0].time == pytest.approx(5891.958)


def test_boxes_become_thousandths_and_the_reading_is_told(authors):
    loaded = authors(row())
    assert loaded.examples[0].evidence == "A dog [250, 250, 500, 500] runs before the car."
    assert loaded.notes == ("1 boxes read as x1, y1, x2, y2 in pixels",)


def test_boxes_that_cannot_be_corners_are_read_as_centres(authors):
    centre = "A <obj_start>dog<obj_end><box_start>[500, 500, 200, 100]<box_end>."
    loaded = authors(row(evidence=centre))
    assert loaded.examples[0].evidence == "A dog [400, 450, 600, 550]."
    assert "centre x" in loaded.notes[0]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"answer": ""}, "no answer"),
        ({"evidence": None}, "no evidence"),
        ({"keyframe_path": []}, "no core frames"),
        ({"keyframe_path": ["CUVA/7_image/480.jpg"]}, "30 frames, so the number is no native index; set `rate`"),
        ({"keyframe_path": ["x/cover.jpg"]}, "tells no time"),
        ({"video_path": None}, "cannot be told without the video; set `rate`"),
        ({"evidence": "<obj_start>dog<obj_end><box_start>[0, 0, 99, 24]<box_end>"}, "out of its frame of 64x48"),
        ({"evidence": "<obj_start>dog<obj_end><box_start>[0, 0, 9]<box_end>"}, "a box of 3 numbers"),
    ],
)
def test_a_bad_row_is_told_and_left_out(authors, changes, why):
    loaded = authors(row(), row(**changes))
    assert len(loaded.examples) == 1
    assert loaded.bad[0].where.endswith("row 1")
    assert why in loaded.bad[0].why


def test_missing_pictures_are_told_by_name(authors):
    loaded = authors(row(), row(keyframe_path=["gone/1.jpg"], video_path="gone.mp4"), rate=1.0)
    assert "gone/1.jpg is not there, nor" in loaded.bad[0].why


def test_a_file_without_a_good_row_stops_with_the_first_reason(authors):
    with pytest.raises(DataError, match=r"no row to learn from \(2 bad\).*no answer"):
        authors(row(answer=""), row(answer=""))


@pytest.mark.parametrize(("text", "said"), [("{", "not JSON"), ("{}", "not a list")])
def test_what_is_not_the_authors_file_is_told_so(tmp_path, text, said):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=said):
        load(VideoEspresso(format="videoespresso", path=tmp_path / "x.json", root=tmp_path))


def test_records_give_a_frame_from_each_true_span(tmp_path, film):
    item = KeyItem(label="dog", frame=Frame(index=5, time=0.5), box=(16, 12, 32, 24))
    truth = Truth(
        spans=(Span(start=0.4, end=0.6), Span(start=1.9, end=2.1)), facts=("a", "b"), evidence="A dog runs.", key_items=(item,)
    )
    asked = Question(id="q", visuals=(str(film.relative_to(tmp_path)),), text="Why?", answer="a dog", truth=truth)
    lines = [asked, asked.model_copy(update={"truth": None}), asked.model_copy(update={"visuals": ("gone.mp4",)})]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(line.model_dump_json() + "\n" for line in lines) + "torn")
    loaded = load(Records(format="records", path=path))
    (example,) = loaded.examples
    assert [int(shot.pixels(64).mean().round(-1)) for shot in example.shots] == [40, 160]
    assert example.evidence == "A dog runs. Key items: dog [250, 250, 500, 500]."
    assert [row.where for row in loaded.bad] == [f"questions.jsonl, line {number}" for number in (2, 3, 4)]


def test_a_made_world_is_read_as_records(tmp_path):
    questions = world.make("train", 3, tmp_path, size=64, workers=1)
    loaded = load(Records(format="records", path=tmp_path / "questions.jsonl"))
    assert [example.answer for example in loaded.examples] == [question.answer for question in questions]
    assert not loaded.bad


def test_the_world_is_drawn_the_same_again_and_evidence_tells_what_is_seen():
    source = World(format="world", count=40, spare=0.5, missing=0.2)
    some, again = load(source, seed=1).examples, load(source, seed=1).examples
    assert some == again
    assert len(some) == 40
    assert load(source, seed=2).examples != some
    needed = {example.id: question.truth for example in some for question in world.questions_of(
        world.story("train", int(example.id.split("-")[1])), "") if question.id == example.id}  # fmt: skip
    for example in some:
        told = [fact for fact in needed[example.id].facts if fact in example.evidence]
        assert bool(told) == (example.evidence != "nothing seen.")
    assert some[0].shots[0].pixels(112).shape == (112, 112, 3)


def test_the_world_can_be_seen_evenly_instead():
    for example in load(World(format="world", count=6, uniform=16)).examples:
        gaps = [later.time - earlier.time for earlier, later in zip(example.shots, example.shots[1:], strict=False)]
        assert len(example.shots) == 16
        assert max(gaps) - min(gaps) < 0.01


def test_of_the_world_some_tasks_can_be_learnt_alone():
    for example in load(World(format="world", count=5, tasks=("Role Identification",))).examples:
        _, index, number = example.id.split("-")
        assert world.story("train", int(index)).motifs[int(number)].task == "Role Identification"


@pytest.mark.parametrize("box", [(0, 0, 65, 10), (10, 10, 10, 20), (-1, 0, 5, 5)])
def test_a_box_out_of_its_frame_is_refused(box):
    with pytest.raises(ValueError, match="out of its frame of 64x48"):
        grounded("dog", box, 64, 48)
