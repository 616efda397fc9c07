from espresso.datasets import get_dataset

ROW = {"video": "166583.webm", "question": "What is moved?", "candidates": ["a cup", "a pen"], "answer": "a pen"}


def test_a_row_is_a_question(files):
    source = files([ROW], "moving.json", "ssv2/166583.webm")
    (question,) = get_dataset("mvbench").load("test", None, source).questions
    assert (question.text, question.options, question.answer) == ("What is moved?", ("a cup", "a pen"), "a pen")
    assert question.visuals == (str(source.videos / "ssv2/166583.webm"),)


def test_questions_about_two_parts_of_a_video_are_two_questions(files):
    rows = [ROW | {"start": 0.0, "end": 2.0}, ROW | {"start": 2.0, "end": 4.0}]
    assert len(get_dataset("mvbench").load("test", None, files(rows, "moving.json", "166583.webm")).questions) == 2
