"""A world of its own: seeded cartoons of moving coloured shapes, rendered to real mp4 files, every fact of them known.

A story (`plan`, `story`) is a chain of acts from which questions of the paper's fourteen tasks follow (`yard`, `places`); `stage`
and `draw` turn it into frames, `make` into clips with questions and truth beside them. Answers are drawn uniformly before the
story is made around them, so words alone tell nothing; train and test share no seed, layout, held-out thing or held-out pair of
colour and act (`cast`).
"""

from espresso.world.cast import SPLITS, Split
from espresso.world.draw import render
from espresso.world.make import COMMENT, demo_clip, load, make, questions_of
from espresso.world.plan import story
from espresso.world.stage import sprites
from espresso.world.story import NOTHING, Beat, Motif, Story

__all__ = [
    "COMMENT", "NOTHING", "SPLITS", "Beat", "Motif", "Split", "Story",
    "demo_clip", "load", "make", "questions_of", "render", "sprites", "story",
]  # fmt: skip
