"""NExT-GQA with captions."""

import json
import zipfile
from pathlib import Path

import pytest

from espresso.datasets.nextqa import nextgqa
from espresso.errors import DataError

REAL = Path(__file__).parents[5] / "shared" / "data" / "nextgqa"
ROW = {
    "video": "7", "qid": "2", "type": "CW", "question": "why does it bark", "options": ["hungry", "happy"],
    "gt_spans_s": [[0.4, 1.2], [7.5, 9.0]],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    def write(*rows, captions=None):
        (tmp_path / nextgqa.QUESTIONS).write_text("".join(json.dumps(row) + "\n" for row in rows))
        with zipfile.ZipFile(tmp_path / nextgqa.CAPTIONS, "w") as archive:
            archive.writestr("7.json", json.dumps(captions or {str(second): f"caption {second}" for second in range(9)}))
        return tmp_path

    return write


def test_a_row_is_a_question_with_captions_and_their_positions_in_the_spans(folder):
    (question,) = nextgqa.load(folder(ROW)).questions
    assert (question.id, question.kind, question.captions[8], question.times[8]) == ("7-2", "CW", "caption 8", 8.0)
    assert question.spans == ((0, 1), (7, 8))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"video": "8"}, "no captions of the video '8' in captions_1fps.zip"),
        ({"gt_spans_s": []}, "the field 'gt_spans_s' has no span"),
        ({"gt_spans_s": [[3, 1]]}, "the field 'gt_spans_s' has an invalid span [3, 1]"),
        ({"question": ""}, "the field 'question' is empty"),
        ({"qid": "2"}, "the id '7-2' was used by an earlier row"),
    ],
)
def test_a_row_that_cannot_be_used_is_reported_and_the_others_are_read(folder, change, why):
    loaded = nextgqa.load(folder(ROW, ROW | {"qid": "3"} | change))
    assert len(loaded.questions) == 1
    assert str(loaded.bad[0]) == f"questions.jsonl, row 2: {why}"


def test_a_folder_without_the_files_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"has no questions\.jsonl\. Give the folder"):
        nextgqa.load(tmp_path)


def test_captions_that_are_no_archive_are_one_sentence(folder):
    place = folder(ROW)
    (place / nextgqa.CAPTIONS).write_text("not a zip")
    with pytest.raises(DataError, match="cannot be read"):
        nextgqa.load(place)


@pytest.mark.skipif(not REAL.is_dir(), reason="NExT-GQA is not next to the project")
def test_the_captions_in_the_spans_are_those_that_the_real_file_lists():
    loaded = nextgqa.load(REAL)
    rows = [json.loads(line) for line in (REAL / nextgqa.QUESTIONS).open()]
    assert [sorted(question.relevant) for question in loaded.questions] == [row["gt_caption_idx"] for row in rows]
    assert not loaded.bad
