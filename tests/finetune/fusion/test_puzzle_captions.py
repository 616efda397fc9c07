"""Captions of generated puzzles say what the picture shows, not what is asked."""

import random
import re

from espresso.datasets.smart101.puzzles import PUZZLES, instance
from finetune.fusion.captions import describe
from finetune.fusion.puzzle_captions import MOST_WORDS, facts, situations


def test_facts_are_phrases_of_names_and_values():
    assert facts(instance(2, 0).facts) == ("blue 7", "green 4", "orange 3", "purple 2", "red 6")
    assert facts({"things": {"red": ("HJZ", True), "blue": (1, -1, 7)}, "start": 4}) == (
        "blue 1 -1 7",
        "red h j z true",
        "start 4",
    )


def test_every_generated_puzzle_has_short_facts():
    for puzzle in PUZZLES:
        found = facts(instance(puzzle, 0).facts)
        assert found, puzzle
        assert all(1 < len(each.split()) <= MOST_WORDS for each in found), puzzle


def test_held_out_puzzles_are_those_of_the_puzzle_split():
    every, kept = ({each.id.split("-")[0] for each in situations(1, held_out=held_out)} for held_out in (False, True))
    assert len(every) == len(PUZZLES)
    assert {"94", "77", "43"} <= every - kept
    assert {"2", "28"} <= kept


def test_a_caption_says_facts_of_its_picture():
    for situation in situations(1):
        caption = describe(situation, random.Random(0))
        assert any(re.search(rf"\b{re.escape(each)}\b", caption) for each in situation.objects)
        assert situation.visual.kind == "image"
