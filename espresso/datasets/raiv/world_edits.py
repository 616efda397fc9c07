"""Edited images of the procedural world: the miniature of InstructPix2Pix.

An image is the frame in the middle of an act, as in `espresso.datasets.raiv.world`. It is edited in
two ways: one visible thing gets another colour or shape. Both images differ in nothing else, and a
statement is true of one edit and false of the other, so only a close comparison tells.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import cast

from espresso import world
from espresso.datasets.raiv.edited import Edit, LoadedEdits
from espresso.datasets.raiv.situations import MediaKind, Split, VisualReference
from espresso.datasets.raiv.words import with_article
from espresso.datasets.raiv.world import read as situations

EDITS = 2
"""Edits of an image."""


def read(stories: Mapping[Split, int], on_story: Callable[[int, int], None] | None = None) -> LoadedEdits:
    """Return the edits of some stories of each split, those of one image together.

    Args:
        stories: split -> number of stories.
        on_story: called with (stories done, all stories).
    """
    edits = list[Edit]()
    images: tuple[MediaKind, ...] = ("image",)
    for situation in situations(images, stories, on_story).situations:
        path, time = situation.visual.path, cast(tuple[float, float], situation.visual.span)[0]
        story = world.story(situation.split, int(path.rpartition("/")[2]))
        rng = random.Random(f"{path} {time}")
        possible = [each for each in world.edits(story) if str(each[0]) in situation.objects]
        seen = [with_article(noun) for noun in situation.objects]
        for thing, edit, instruction in rng.sample(possible, min(EDITS, len(possible))):
            new = with_article(edit.partition("=")[2].replace("-", " "))
            edits.append(
                Edit(
                    id=f"{situation.id}-{edit}",
                    split=situation.split,
                    before=situation.visual,
                    after=VisualReference(path=f"{path}+{edit}", kind="image", span=(time, time)),
                    caption=", ".join(seen),
                    edit=instruction,
                    edited_caption=", ".join(new if each == with_article(str(thing)) else each for each in seen),
                )
            )
    return LoadedEdits(edits)
