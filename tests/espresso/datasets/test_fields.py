"""Values of a row: nothing that is missing becomes text, and an answer is an option that is there."""

import pytest

from espresso.datasets.fields import by_index, by_letter, optional_text, split_letters, text, texts

MISSING = [None, float("nan"), float("inf"), "", "  ", "\u200b", "\xa0\n", "nan", "NaN", "NULL", "<NA>", "#N/A"]


@pytest.mark.parametrize("value", MISSING)
def test_a_missing_value_is_never_text(value):
    with pytest.raises(ValueError, match="the field 'question' is empty"):
        text({"question": value}, "question")
    with pytest.raises(ValueError, match="value 2 of the field 'options' is empty"):
        texts({"options": ["red", value]}, "options")
    with pytest.raises(ValueError, match="the field 'answer' is empty"):
        by_index(("a", "b"), {"answer": value}, "answer")
    with pytest.raises(ValueError, match="the field 'answer' is empty"):
        by_letter({"A": "a"}, {"answer": value}, "answer")
    assert optional_text({"evidence": value}, "evidence") == ""


@pytest.mark.parametrize(
    ("value", "expected"), [(" Why? ", "Why?"), (7, "7"), (7.0, "7"), (0.5, "0.5"), ("None", "None"), ("?", "?")]
)
def test_text_and_numbers_are_text(value, expected):
    assert text({"a": value}, "a") == expected


@pytest.mark.parametrize("value", [True, ["a"], {"a": 1}])
def test_anything_else_is_not(value):
    with pytest.raises(ValueError, match="the field 'a' is not text"):
        text({"a": value}, "a")


@pytest.mark.parametrize(("value", "why"), [("['a', 'b']", "is not a list"), ({"A": "a"}, "is not a list"), ([], "is empty")])
def test_a_list_is_a_list(value, why):
    with pytest.raises(ValueError, match=f"the field 'options' {why}"):
        texts({"options": value}, "options")


@pytest.mark.parametrize("value", [1, "1", " 1 ", 1.0, "1.0", "1."])
def test_an_index_may_be_written_as_people_do(value):
    assert by_index(("a", "b"), {"answer": value}, "answer") == "b"


@pytest.mark.parametrize("value", [-1, "-1", 2, "2.0", 0.5, "B", "b", "1_0", "9" * 400, "1e0"])
def test_no_other_value_is_an_index(value):
    with pytest.raises(ValueError, match=r"the field 'answer' is .*, but the options are 0 to 1"):
        by_index(("a", "b"), {"answer": value}, "answer")


@pytest.mark.parametrize("value", ["B", "(B)", "B.", "b", " B) "])
def test_a_letter_may_be_written_as_people_do(value):
    assert by_letter({"A": "a", "B": "b"}, {"answer": value}, "answer") == "b"


@pytest.mark.parametrize("value", ["C", "-1", 1, "AB"])
def test_no_other_value_is_a_letter(value):
    with pytest.raises(ValueError, match=r"the field 'answer' is .*, but the options are A, B"):
        by_letter({"A": "a", "B": "b"}, {"answer": value}, "answer")


@pytest.mark.parametrize(
    ("options", "split"),
    [
        (["(A): red", "(B): blue"], ["red", "blue"]),
        (["A. red", "B) blue"], ["red", "blue"]),
        (["A red hat", "B side"], ["A red hat", "B side"]),
        (["U.S. flag", "B. blue"], ["U.S. flag", "B. blue"]),
    ],
)
def test_only_letters_of_options_are_removed(options, split):
    assert split_letters(options) == dict(zip("AB", split, strict=True))


def test_an_option_without_text_is_an_error():
    with pytest.raises(ValueError, match="option B is empty"):
        split_letters(["(A): red", "(B): "])
