import shutil

import pytest

from espresso import world
from espresso.datasets import DatasetFiles, get_dataset, records
from espresso.errors import DataError
from espresso.schema import Frame, KeyItem, Question, Span, Truth

ITEM = KeyItem(label="dog", frame=Frame(index=5, time=0.5), box=(16, 12, 32, 24))
QUESTION = Question(
    id="q",
    visuals=("clips/a.mp4",),
    text="Why? \u2028 Because.",
    answer="a dog",
    truth=Truth(
        spans=(Span(start=0.4, end=0.6), Span(start=1.9, end=2.1)), facts=("a", "b"), evidence="A dog runs.", key_items=(ITEM,)
    ),
)


@pytest.fixture
def file(tmp_path, video):
    """A file of one record, next to its video."""
    (tmp_path / "clips").mkdir()
    shutil.copy(video, tmp_path / "clips" / "a.mp4")
    path = tmp_path / "questions.jsonl"
    path.write_text(QUESTION.model_dump_json() + "\n")
    return path


def test_records_are_evaluated_without_a_folder_of_videos(file):
    loaded = get_dataset("records").load("test", None, DatasetFiles(file))
    assert loaded.questions == [QUESTION.model_copy(update={"visuals": (str(file.parent / "clips/a.mp4"),)})]


def test_images_are_visuals_too(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "q.jsonl").write_text(QUESTION.model_copy(update={"visuals": ("a.png",)}).model_dump_json())
    (question,) = get_dataset("records").load("test", None, DatasetFiles(tmp_path / "q.jsonl")).questions
    assert question.visuals == (str(tmp_path / "a.png"),)


def test_parts_of_videos_and_groups_are_kept(file, tmp_path):
    part = QUESTION.model_copy(update={"visuals": ("clips/a.mp4#t=1,2",), "group": "g"})
    file.write_text(part.model_dump_json())
    (question,) = get_dataset("records").load("test", None, DatasetFiles(file)).questions
    assert (question.visuals, question.group) == ((f"{tmp_path}/clips/a.mp4#t=1,2",), "g")
    records.write(file, [question])
    assert '"clips/a.mp4#t=1,2"' in file.read_text()


def test_training_examples_have_core_frames_and_key_items(file, frame_number):
    (example,) = records.DATASET.examples(DatasetFiles(file)).examples
    assert [frame_number(frame) for frame in example.frames] == [5, 20]
    assert example.evidence == "A dog runs. Key items: dog [250, 250, 500, 500]."


def test_a_torn_line_is_a_bad_row(file):
    with file.open("a") as lines:
        lines.write("\n" + QUESTION.model_dump_json()[:40])
    loaded = records.DATASET.load("test", None, DatasetFiles(file))
    assert len(loaded.questions) == 1
    assert [bad.where for bad in loaded.bad] == ["questions.jsonl, row 2"]
    assert loaded.bad[0].why.startswith("not JSON")


def test_what_is_written_is_read_again(file, tmp_path):
    before = records.read(file)
    records.write(file, before)
    assert records.read(file) == before
    assert '"clips/a.mp4"' in file.read_text()


def test_visuals_outside_the_folder_are_written_as_absolute_paths(file, tmp_path):
    before = records.read(file)
    (tmp_path / "elsewhere").mkdir()
    records.write(tmp_path / "elsewhere" / "q.jsonl", before)
    assert records.read(tmp_path / "elsewhere" / "q.jsonl") == before


def test_reading_all_questions_fails_at_a_bad_row(file):
    with file.open("a") as lines:
        lines.write("{}\n")
    with pytest.raises(DataError, match="row 2: no field 'id'"):
        records.read(file)


def test_a_made_world_is_read_as_records(tmp_path):
    questions = world.make("train", 3, tmp_path / "world", size=64, workers=1)
    files = DatasetFiles(tmp_path / "world" / "questions.jsonl")
    assert records.DATASET.load("test", None, files).questions == questions
    loaded = records.DATASET.examples(files)
    assert [example.answer for example in loaded.examples] == [question.answer for question in questions]
    assert not loaded.bad
