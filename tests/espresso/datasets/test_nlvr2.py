import json
from pathlib import Path

import pytest

from espresso.datasets import get_dataset

REAL = Path(__file__).parents[4] / "shared" / "data" / "nlvr2" / "dev_sample.jsonl"
ROW = {"sentence": "One image shows exactly two dogs.", "label": "False", "identifier": "dev-12-3-1", "synset": "dog"}
IMAGES = ("dev/dev-12-3-img0.png", "dev/dev-12-3-img1.png")


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["dev.json", "dev.jsonl"])
def test_a_row_is_a_question_about_the_left_and_the_right_image(files, name):
    source = files(lines(ROW, ROW | {"identifier": "dev-12-3-0"}), name, *IMAGES)
    question, other = get_dataset("nlvr2").load("test", None, source).questions
    assert (question.id, question.text) == ("dev-12-3-1", "One image shows exactly two dogs.")
    assert (question.options, question.answer) == (("True", "False"), "False")
    assert question.visuals == other.visuals == tuple(str(source.videos / image) for image in IMAGES)


def test_a_group_is_a_sentence_with_all_its_pairs(files):
    names = ["dev-12-3-1", "dev-12-0-1", "dev-12-3-0", "dev-13-3-1"]
    images = [f"{name[: name.rindex('-')]}-img{side}.png" for name in names for side in (0, 1)]
    source = files(lines(*(ROW | {"identifier": name} for name in names)), "dev.json", *images)
    first, same, other_sentence, other_set = (q.group for q in get_dataset("nlvr2").load("test", None, source).questions)
    assert first == same
    assert len({first, other_sentence, other_set}) == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"label": "Maybe"}, "the field 'label' is 'Maybe', but the options are True and False"),
        ({"label": None}, "the field 'label' is empty"),
        ({"identifier": "12-3"}, "the field 'identifier' is '12-3', not SPLIT-SET-PAIR-SENTENCE, such as 'dev-850-0-1'"),
        ({"sentence": ""}, "the field 'sentence' is empty"),
    ],
)
def test_an_invalid_value_is_a_bad_row(files, change, why):
    loaded = get_dataset("nlvr2").load("test", None, files(lines(ROW, ROW | change), "dev.json", *IMAGES))
    assert len(loaded.questions) == 1
    assert [str(bad) for bad in loaded.bad] == [f"dev.json, row 2: {why}"]


def test_a_missing_image_leaves_its_questions_out(files):
    source = files(lines(ROW, ROW | {"identifier": "dev-12-0-1"}), "dev.json", *IMAGES, "dev/dev-12-0-img0.png")
    loaded = get_dataset("nlvr2").load("test", None, source)
    assert [question.id for question in loaded.questions] == ["dev-12-3-1"]
    assert loaded.missing == ("dev-12-0-img1.png",)


@pytest.mark.skipif(not REAL.is_file(), reason="the sample of the authors' file is not next to the project")
def test_the_authors_file_is_read_completely(files):
    text = REAL.read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    source = files(text, "dev.json")
    for row in rows:
        for side in (0, 1):
            (source.videos / f"{row['identifier'].rpartition('-')[0]}-img{side}.png").touch()
    loaded = get_dataset("nlvr2").load("test", None, source)
    assert len(loaded.questions) == len(rows)
    assert not loaded.bad
    assert not loaded.missing
