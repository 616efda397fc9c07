import json

from espresso.datasets import get_dataset

ROW = {
    "video_id": "001",
    "duration": "short",
    "domain": "Knowledge",
    "sub_category": "Humanity",
    "videoID": "fFjv93ACGo8",
    "question_id": "001-1",
    "task_type": "Counting Problem",
    "question": "How many?",
    "options": ["A. One.", "B. Two.", "C. Three.", "D. Four."],
    "answer": "C",
}


def test_a_row_is_a_question(files):
    source = files(json.dumps(ROW) + "\n", "test.jsonl", "data/fFjv93ACGo8.mp4")
    (question,) = get_dataset("videomme").load("test", None, source).questions
    assert (question.id, question.task, question.answer) == ("001-1", "Counting Problem", "Three.")
    assert question.options == ("One.", "Two.", "Three.", "Four.")
    assert question.visuals == (str(source.videos / "data/fFjv93ACGo8.mp4"),)


def test_the_authors_parquet_file_is_read(files):
    import pyarrow
    from pyarrow.parquet import write_table

    source = files("", "test.parquet", "fFjv93ACGo8.mp4")
    write_table(pyarrow.Table.from_pylist([ROW, ROW | {"question_id": "001-2", "answer": "E"}]), source.data)
    loaded = get_dataset("videomme").load("test", None, source)
    assert [question.answer for question in loaded.questions] == ["Three."]
    assert str(loaded.bad[0]) == "test.parquet, row 2: the field 'answer' is 'E', but the options are A, B, C, D"
