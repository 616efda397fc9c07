"""The procedural world: each act of a story is a situation, with exact annotations.

An image is the frame in the middle of the act, a video is the act from start to end. The stories of
the world's train, val and test splits are those of the pairs. Nothing is rendered here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import combinations
from typing import cast

from espresso import world
from espresso.datasets.raiv.situations import SPLITS, LoadedSituations, MediaKind, Situation, Split, VisualReference
from espresso.datasets.world import RenderedFrame
from espresso.world import Beat, Story

ACTIONS = {
    "hits": "hitting", "pushes": "pushing", "follows": "following", "gives": "giving a box", "feels": "feeling {value}",
    "hides": "hiding", "leaves": "leaving to the {value}", "enters": "entering from the {value}",
    "turns": "turning {value}", "lamp": "turning the lamp {value}", "goes": "going into the pan", "stirs": "stirring the pan",
    "pours": "pouring water", "salts": "salting the pan", "heats": "heating the pan", "covers": "covering the pan",
    "crosses": "crossing on {value}", "waits": "waiting for the {value}", "breaks": "breaking down",
}  # fmt: skip
"""Verb of an act -> the action as a present participle."""

OVERLAP = 0.12
"""Things whose centres are closer than this share of the frame hide each other."""

BELOW_HOME = 0.5
"""Things that do not act are at home in the upper half of the frame, or behind the wall."""

ACTS_PER_STORY = 5.4
"""Mean number of acts, measured over 200 stories."""


def stories_for(pairs: int) -> dict[Split, int]:
    """Return the number of stories of each split for a number of pairs.

    There are about as many acts as pairs, as in the paper's Table 1 (63,000 images for 135,000
    pairs of images, 106,000 events for 149,000 pairs of videos).
    """
    return {split: 4 + round(share * pairs / ACTS_PER_STORY) for split, share in zip(SPLITS, (0.7, 0.1, 0.2), strict=True)}


def read(
    kinds: Collection[MediaKind],
    stories: Mapping[Split, int],
    on_story: Callable[[int, int], None] | None = None,
    *,
    first: int = 0,
) -> LoadedSituations:
    """Return the situations of some stories of each split, those of one story together.

    Args:
        kinds: "image" for the middle frames of the acts, "video" for the acts, or both.
        stories: split -> number of stories.
        on_story: called with (stories done, all stories).
        first: index of the first story in each split.
    """
    situations, done = list[Situation](), 0
    for split, count in stories.items():
        for index in range(first, first + count):
            story = world.story(split, index)
            situations += [_situation(story, split, number, kind) for number in range(len(story.beats)) for kind in kinds]
            done += 1
            if on_story:
                on_story(done, sum(stories.values()))
    return LoadedSituations(situations)


def frames(visual: VisualReference, count: int) -> tuple[RenderedFrame, ...]:
    """Return evenly spaced frames of a visual of the world, to be rendered when they are needed.

    Args:
        visual: a reference that `read` made.
        count: number of frames of a video; an image has one.
    """
    split, _, story = visual.path.removeprefix("world:").partition("/")
    index, _, edit = story.partition("+")
    start, end = visual.span or (0.0, 0.0)
    count = 1 if visual.kind == "image" else count
    times = [start + (number + 0.5) * (end - start) / count for number in range(count)]
    return tuple(RenderedFrame(cast(world.Split, split), int(index), round(time, 3), edit) for time in times)


def _situation(story: Story, split: Split, number: int, kind: MediaKind) -> Situation:
    beat = story.beats[number]
    middle = round((beat.start + beat.end) / 2, 3)
    span = (middle, middle) if kind == "image" else (round(beat.start, 3), round(beat.end, 3))
    visual = VisualReference(path=f"world:{split}/{story.index}", kind=kind, span=span)
    roles = dict(_roles(beat))
    seen = {str(sprite.thing) for sprite in world.sprites(story, middle)}
    unsure = {*_hidden(story, middle), *_in_the_pan(story, middle)} - {*roles.values()}
    name = f"world-{split}-{story.index}-{number}-{kind}"
    action = ACTIONS[beat.verb].format(value={"light": "red light"}.get(beat.value, beat.value))
    return Situation(name, split, visual, action, roles, tuple(sorted(seen - unsure)), frozenset(unsure))


def _roles(beat: Beat) -> Iterator[tuple[str, str]]:
    """Yield the roles, with the colours that the things have during the act."""
    if beat.doer:
        yield "agent", f"{beat.value} {beat.doer.shape}" if beat.verb == "turns" else str(beat.doer)
    if beat.target:
        yield "target", str(beat.target)


def _hidden(story: Story, time: float) -> Iterator[str]:
    """Yield things behind the wall or at the edge of the frame, and things that overlap."""
    here = world.sprites(story, time)
    for sprite in here:
        if sprite.y > BELOW_HOME or not 0 <= sprite.x <= 1:
            yield str(sprite.thing)
    for one, other in combinations(here, 2):
        if abs(one.x - other.x) < OVERLAP and abs(one.y - other.y) < OVERLAP:
            yield from (str(one.thing), str(other.thing))


def _in_the_pan(story: Story, time: float) -> Iterator[str]:
    """Yield what an ingredient in the pan looks like: it is drawn as a flat circle."""
    for beat in story.beats:
        if beat.verb == "goes" and beat.doer and beat.end < time:
            yield f"{beat.doer.colour} circle"
