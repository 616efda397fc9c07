import pytest

from espresso.datasets.smart101.rows import puzzle_folder, read_puzzle
from espresso.errors import DataError

HEAD = "id,Question,image,A,B,C,D,E,Answer\n"


@pytest.fixture
def read(tmp_path):
    """Return the function that reads text as the file of puzzle 2: (file, bad rows, notes)."""

    def of(text, name="puzzle_2.csv"):
        (tmp_path / "2").mkdir()
        (tmp_path / "2" / name).write_text(text, encoding="utf-8")
        bad, notes = [], []
        return read_puzzle(tmp_path, 2, bad, notes), list(map(str, bad)), notes

    return of


def test_a_row_has_question_image_options_and_answer(read):
    file, bad, notes = read(HEAD + '1,"How many, in all? ",a.png,2,3,4,5,9,C\n')
    (row,) = file.rows
    assert (row.question, row.image, row.options, row.answer) == ("How many, in all?", "a.png", ("2", "3", "4", "5", "9"), 2)
    assert (row.id, file.size, bad, notes) == ("2-0000", 1, [], [])


@pytest.mark.parametrize(("answer", "index"), [("C", 2), ("C ", 2), ("9", 4)])
def test_an_answer_is_a_letter_or_the_text_of_an_option(read, answer, index):
    file, bad, _ = read(HEAD + f"1,How many?,a.png,2,3,4,5,9,{answer}\n")
    assert (file.rows[0].answer, bad) == (index, [])


def test_options_that_the_picture_shows_are_letters(read):
    file, _, _ = read(HEAD + "1,Which one?,a.png,,,,,,D\n")
    assert (file.rows[0].options, file.rows[0].answer) == (("A", "B", "C", "D", "E"), 3)


def test_a_byte_order_mark_is_skipped(read):
    file, bad, _ = read("\ufeff" + HEAD.replace("id,", "") + "How many?,a.png,2,3,4,5,9,A\n")
    assert (len(file.rows), bad) == (1, [])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("9,How many?,b.png,2,3,4,5,9,F", "the field 'Answer' is 'F', neither a letter from A to E nor an option"),
        ("9,How many?,b.png,2,3,4,5,9,", "the field 'Answer' is empty"),
        ("9,How many?,b.png,2,3,4,5,5,A", "the option '5' is there twice"),
        ("9,How many?,b.png,2,3,,5,9,A", "the field 'C' is empty"),
        ("9,,b.png,2,3,4,5,9,A", "the field 'Question' is empty"),
        ("9,How many?,../b.png,2,3,4,5,9,A", "the field 'image' is '../b.png', not the name of a file"),
        ("9,How many?,b.png,2,3", "it has 5 values, but the header has 9 fields: 'C' is missing"),
        ("9,How many?,a.png,2,3,4,5,9,A", "the same question as in puzzle_2.csv, row 1"),
    ],
)
def test_a_broken_row_is_reported_and_the_others_keep_their_positions(read, line, why):
    file, bad, _ = read(HEAD + f"1,How many?,a.png,2,3,4,5,9,A\n{line}\n3,How many?,c.png,2,3,4,5,9,B\n")
    assert [row.number for row in file.rows] == [0, 2]
    assert file.size == 3
    assert bad == [f"2/puzzle_2.csv, row 2: {why}"]


def test_a_broken_last_row_counts_in_the_size(read):
    file, _, _ = read(HEAD + "1,How many?,a.png,2,3,4,5,9,A\n2,How many?,b.png,2,3,4,5,9,Z\n")
    assert file.size == 2


def test_the_misnamed_file_of_the_release_is_read_and_reported(read):
    file, bad, notes = read(HEAD + "1,How many?,a.png,2,3,4,5,9,A\n", "puzzle_3.csv")
    assert (len(file.rows), bad) == (1, [])
    assert notes == ["2/puzzle_3.csv is read as puzzle_2.csv"]


def test_a_missing_file_is_reported(tmp_path):
    (tmp_path / "2").mkdir()
    bad = []
    assert read_puzzle(tmp_path, 2, bad, []).size == 0
    assert [str(each) for each in bad] == ["2/puzzle_2.csv: no such file"]


def test_an_empty_file_is_reported(read):
    file, bad, _ = read("")
    assert file.rows == ()
    assert len(bad) == 1
    assert "2/puzzle_2.csv: cannot be read (the file is empty)" in bad[0]


def test_a_file_without_the_columns_is_reported_row_by_row(read):
    file, bad, _ = read("a,b\n1,2\n")
    assert (file.rows, bad) == ((), ["2/puzzle_2.csv, row 1: no field 'image'"])


def test_the_folder_of_the_release_is_found_from_above(tmp_path):
    inner = tmp_path / "SMART101-release-v1" / "SMART101-Data"
    (inner / "7").mkdir(parents=True)
    assert puzzle_folder(tmp_path) == puzzle_folder(inner) == inner


def test_a_folder_without_puzzles_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no folder of puzzles in it"):
        puzzle_folder(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        puzzle_folder(tmp_path / "nowhere")
