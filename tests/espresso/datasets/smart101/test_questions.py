import pytest

from espresso.datasets import DatasetFiles, get_dataset


def test_without_files_questions_are_about_generated_pictures():
    loaded = get_dataset("smart101").load("test", 31, None)
    assert len({question.task for question in loaded.questions}) == 9
    for question in loaded.questions:
        assert len(question.options) == 5
        assert question.answer in question.options
        assert question.weight in (1, 2, 3)
        assert question.visuals[0].endswith(".png")
        assert question.truth.evidence.startswith("shown: ")


def test_a_row_is_a_question_whose_task_is_the_skill(puzzles, row):
    folder = puzzles({7: [row(n, answer="D") for n in range(20)]}, {7: (2, "algebra")})
    loaded = get_dataset("smart101").load("ps-val", None, DatasetFiles(folder))
    question = loaded.questions[0]
    assert (question.id, question.text, question.task) == ("7-0016", "Question 16?", "algebra")
    assert (question.options, question.answer, question.weight) == (("1", "2", "3", "4", "5"), "4", 2)
    assert question.visuals == (str(folder / "7" / "img" / "16.png"),)
    assert question.truth is None


def test_bad_rows_missing_images_and_notes_are_passed_on(puzzles, row):
    folder = puzzles({2: [row(n, answer="?" if n == 19 else "A") for n in range(20)]})
    (folder / "2" / "puzzle_2.csv").rename(folder / "2" / "puzzle_9.csv")
    (folder / "2" / "img" / "18.png").unlink()
    loaded = get_dataset("smart101").load("test", None, DatasetFiles(folder))
    assert [question.id for question in loaded.questions] == ["2-0017"]
    assert loaded.missing == ("2/img/18.png",)
    assert len(loaded.bad) == len(loaded.notes) == 1


@pytest.mark.parametrize("split", ["test", "val", "train", "ps-test", "ps-val", "ps-train", "fs-test", "fs-val", "fs-train"])
def test_each_part_of_each_split_loads_without_files(split):
    assert len(get_dataset("smart101").load(split, 5, None).questions) == 5
