"""Pictures of generated puzzles to pre-train on."""

from espresso.datasets.smart101.puzzles import PUZZLES
from finetune.puzzle_pictures import pictures


def test_held_out_puzzles_are_those_of_the_puzzle_split():
    every, kept = (pictures(split, 1) for split in ("train", "ps-train"))
    names = [{each.visual.path.rsplit("_", 2)[-2] for each in some} for some in (every, kept)]
    assert len(names[0]) == len(PUZZLES)
    assert names[1] < names[0]
    assert len(names[0] - names[1]) >= 3


def test_chosen_puzzles_are_those_of_all():
    some = pictures("train", 2, (62, 2))
    assert len(some) == 4
    assert {each.visual.path for each in some} < {each.visual.path for each in pictures("train", 2)}
