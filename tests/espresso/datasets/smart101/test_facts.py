"""Facts of generated puzzles say what the picture shows, not what is asked."""

from espresso.datasets.smart101.facts import MOST_WORDS, facts
from espresso.datasets.smart101.puzzles import PUZZLES, instance


def test_facts_are_names_and_values():
    assert facts(instance(2, 0).facts) == {"blue": "7", "green": "4", "orange": "3", "purple": "2", "red": "6"}
    assert facts({"things": {"red": ("HJZ", True), "blue": (1, -1, 7)}, "start": 4}) == {
        "red": "h j z true",
        "blue": "1 -1 7",
        "start": "4",
    }


def test_things_with_several_values_are_left_out():
    assert facts({"arrow": [("A", "B"), ("B", "C")], "start": 4}) == {"start": "4"}


def test_nearly_every_generated_puzzle_has_short_facts():
    found = {puzzle: facts(instance(puzzle, 0).facts) for puzzle in PUZZLES}
    assert all(1 <= len(value.split()) <= MOST_WORDS for each in found.values() for value in each.values())
    assert sum(map(bool, found.values())) >= 29
