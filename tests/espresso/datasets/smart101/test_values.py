import csv

import pytest

from espresso.datasets.smart101.values import value_of


@pytest.mark.parametrize(
    ("puzzle", "written", "value"),
    [
        (2, "4", (4,)),
        (2, "-3", (-3,)),
        (24, "C", (2,)),
        (22, "55 cm", (55,)),
        (92, "20cm", (20,)),
        (93, "18 km", (18,)),
        (21, "7 hours", (7,)),
        (21, "1 hour", (1,)),
        (60, "Impossible", (0,)),
        (58, "/6", (46,)),
        (58, "+2", (12,)),
        (58, "-38", (58,)),
        (25, "11:00 AM", (11,)),
        (25, "2:00 PM", (14,)),
        (16, "1 and 2", (1, 2)),
        (18, "5-2-3-1-4", (5, 2, 3, 1, 4)),
        (35, "A, B, and D", (0, 1, 3)),
        (39, "KNAO", (10, 13, 0, 14)),
        (63, "2, 3, or 4", (2, 3, 4)),
        (63, "only 5", (5,)),
        (100, "MATH", (12, 0, 19, 7)),
    ],
)
def test_an_answer_has_the_value_of_the_authors_code(puzzle, written, value):
    assert value_of(puzzle, written) == value


def test_an_icon_is_its_place_in_the_list_also_in_the_singular():
    icons = ["airplane", "arrow_directions", "boats"]
    assert value_of(1, "boat", icons) == (2,)
    assert value_of(1, "arrow directions", icons) == (1,)
    with pytest.raises(ValueError, match=r"icon-classes\.txt"):
        value_of(1, "boat")
    with pytest.raises(ValueError, match="has no value"):
        value_of(1, "house", icons)


@pytest.mark.parametrize(
    ("puzzle", "written"), [(2, "many"), (58, "6"), (25, "noon"), (39, "ABCDEFGHIJK"), (16, "none"), (58, "")]
)
def test_an_answer_without_a_value_is_an_error(puzzle, written):
    with pytest.raises(ValueError, match="has no value"):
        value_of(puzzle, written)


def test_the_answers_of_the_official_examples_have_values(real_index):
    """The index has the original puzzles, in which some options are words; those of the instances are not."""
    without = set()
    for row in csv.DictReader(real_index.open(encoding="utf-8")):
        for letter in "ABCDE":
            try:
                value_of(int(row["id"]), row[letter].strip())
            except ValueError:
                without.add(int(row["id"]))
    assert without == {1, 65, 66, 84, 90, 101}
