"""Edited stories: one thing has another colour or shape, from the first frame to the last.

An edit is written "red-circle=blue-circle": the thing, and what takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from espresso.world.cast import COLOURS, SHAPES, VEHICLES, Thing
from espresso.world.story import Story


def edits(story: Story) -> Iterator[tuple[Thing, str, str]]:
    """Yield all edits of a story: the thing, the edit, and its instruction.

    The new thing is unlike all others of the story; in train and val it is none that is held out.
    Things that change their colour in the story are not edited.
    """
    turning = {beat.doer.shape for beat in story.beats if beat.verb == "turns" and beat.doer}
    colours, shapes = ({getattr(thing, part) for thing in story.cast} for part in ("colour", "shape"))
    kinds = VEHICLES if story.place == "street" else SHAPES
    for thing in story.cast:
        if thing.shape in turning:
            continue
        recoloured = [Thing(colour, thing.shape) for colour in COLOURS if colour not in colours]
        reshaped = [Thing(thing.colour, shape) for shape in kinds if shape not in shapes]
        for new in (*recoloured, *reshaped):
            if not new.held_out or story.split == "test":
                change = f"make the {thing} {new.colour}" if new in recoloured else f"turn the {thing} into a {new.shape}"
                yield thing, f"{thing}={new}".replace(" ", "-"), change


def edited(story: Story, edit: str) -> Story:
    """Return the story after an edit; its questions are those of the story before.

    Raises:
        ValueError: the edit is not written "red-circle=blue-circle".
    """
    old, new = (Thing(*thing.split("-")) for thing in edit.split("="))

    def changed(thing: Thing | None) -> Thing | None:
        return new if thing == old else thing

    beats = tuple(replace(beat, doer=changed(beat.doer), target=changed(beat.target)) for beat in story.beats)
    return replace(story, cast=tuple(changed(thing) or thing for thing in story.cast), beats=beats)
