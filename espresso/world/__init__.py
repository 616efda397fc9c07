"""A procedural world: seeded cartoons of moving coloured shapes, rendered to mp4 with ground truth.

A story (`plan`, `story`) is a sequence of beats, from which questions of the paper's fourteen tasks
follow (`yard`, `places`). `stage` and `draw` render its frames; `make` writes clips with questions
and ground truth. The answer is drawn uniformly before the story is built around it, so the text of
a question gives no hint. Train and test share no seed, layout, held-out thing or held-out pair of
colour and verb (`cast`). `recognize` tells pictures of the world from all others; `edit` makes
similar stories, which differ in one thing.
"""

from espresso.world.cast import SPLITS, Split, things_in
from espresso.world.draw import render
from espresso.world.edit import edited, edits
from espresso.world.make import COMMENT, demo_clip, load, make, make_clips, questions_of
from espresso.world.plan import story
from espresso.world.recognize import is_world
from espresso.world.stage import sprites
from espresso.world.story import NOTHING, Beat, Motif, Story

__all__ = [
    "COMMENT", "NOTHING", "SPLITS", "Beat", "Motif", "Split", "Story",
    "demo_clip", "edited", "edits", "is_world", "load", "make", "make_clips", "questions_of", "render", "sprites", "story",
    "things_in",
]  # fmt: skip
