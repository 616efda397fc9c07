"""Stories: beats in time, and the questions that they answer.

A beat is one action that is visible in every frame while it lasts ("red square hits blue circle").
The things first walk to their positions and then hold the action for more than a second. A motif is
everything that one question needs: its beats, the question, and a rule for which other beats would
make the answer ambiguous, so that several motifs can share a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from espresso.schema import Task
from espresso.world.cast import TEST_ACTS, Split, Thing, layouts

LEAD_IN_S, LEAD_OUT_S = 0.3, 0.5
"""Seconds before the first and after the last beat."""

WALK_S = 0.5
"""Seconds of walking before each beat."""


@dataclass(frozen=True, eq=False)
class Beat:
    """One action, visible from `start` to `end`."""

    verb: str
    """Key of the caption templates, such as "hits"."""

    doer: Thing | None = None
    """The thing that acts; None for kitchen steps."""

    target: Thing | None = None
    """The thing that is acted on."""

    value: str = ""
    """A further argument of the verb: a mood, colour, side, lamp state or reason."""

    walk: float = 0.0
    """Second at which the things start to walk to their positions."""

    start: float = 0.0
    """Second at which the action starts."""

    end: float = 0.0
    """Second at which the action ends."""

    shift: float = 0.0
    """Horizontal offset of the action, as a fraction of the frame width."""

    mirror: bool = False
    """Whether the action is mirrored horizontally."""

    @property
    def fact(self) -> str:
        """The caption of every frame of the beat; each word is visible in it."""
        return _FACTS[self.verb].format(doer=self.doer, target=self.target, value=self.value, shape=self.doer and self.doer.shape)

    @property
    def held_out(self) -> bool:
        """Whether the beat is reserved for test clips."""
        if self.doer is None:
            return False
        things = [self.doer, self.target or self.doer]
        if self.verb == "turns":
            things.append(Thing(self.value, self.doer.shape))
        acts = ((self.doer.colour, self.verb), (self.doer.colour, self.value))
        return any(thing.held_out for thing in things) or any(act in TEST_ACTS for act in acts)


_FACTS = {
    "hits": "{doer} hits {target}",
    "pushes": "{doer} pushes {target}",
    "follows": "{doer} follows {target}",
    "gives": "{doer} gives box to {target}",
    "feels": "{doer} is {value}",
    "hides": "{doer} hides",
    "leaves": "{doer} leaves {value}",
    "enters": "{doer} enters {value}",
    "turns": "{shape} turns {value}",
    "lamp": "{doer} turns lamp {value}",
    "goes": "{doer} goes into pan",
    "stirs": "spoon stirs pan",
    "pours": "jug pours water",
    "salts": "shaker salts pan",
    "heats": "flame heats pan",
    "covers": "lid covers pan",
    "crosses": "{doer} crosses on {value}",
    "waits": "{doer} waits for {value}",
    "breaks": "{doer} breaks down",
}
NOTHING = "nothing happens"
"""The caption of frames between beats."""


@dataclass(frozen=True, eq=False)
class Motif:
    """One question and the beats that it needs."""

    task: Task
    """Task of the question."""

    blocks: tuple[tuple[Beat, ...], ...]
    """Groups of beats; the beats of a group follow each other directly, in order."""

    text: str
    """Text of the question."""

    options: tuple[str, ...]
    """The options in random order."""

    answer: str
    """The correct option."""

    needed: tuple[Beat, ...]
    """The beats that are needed to answer the question."""

    claims: Callable[[Beat], bool]
    """Whether a beat affects the answer. A clip must not contain such a beat of another motif."""

    keep_order: bool = False
    """Whether the blocks must occur in the given order."""


@dataclass(frozen=True, eq=False)
class Story:
    """The content of a clip before it is rendered."""

    place: str
    """The scene: "yard", "kitchen" or "street"."""

    split: Split
    """Split of the story."""

    index: int
    """Index within the split."""

    layout: int
    """Layout of the scene, 0 to `LAYOUTS` - 1."""

    cast: tuple[Thing, ...]
    """All things, in their initial colours."""

    beats: tuple[Beat, ...]
    """The beats in time order."""

    motifs: tuple[Motif, ...]
    """The questions."""

    needed: tuple[tuple[int, ...], ...]
    """For each motif, the positions of the needed beats in `beats`."""

    causes: tuple[tuple[int, int], ...]
    """(position of the cause, position of the effect) pairs."""

    lamp: bool
    """Whether the lamp is on at the start."""

    duration: float
    """Duration in seconds."""

    def beat_at(self, time: float) -> Beat | None:
        """Return the beat that is visible at a time in seconds, or None between beats."""
        return next((beat for beat in self.beats if beat.start <= time <= beat.end), None)

    def caption(self, time: float) -> str:
        """Return the ground-truth caption of the frame at a time in seconds."""
        beat = self.beat_at(time)
        return beat.fact if beat else NOTHING


def compose(
    place: str, split: Split, index: int, rng: np.random.Generator, cast: tuple[Thing, ...], motifs: Sequence[Motif]
) -> Story | None:
    """Combine motifs into a story.

    Returns:
        The story, or None if the motifs conflict with each other or with the rules of the split.
        The caller then draws new motifs.
    """
    order = _weave(rng, motifs)
    if any(motif.claims(beat) for motif in motifs for beat in order if not _owns(motif, beat)):
        return None
    lamps = [beat.value for beat in order if beat.verb == "lamp"]
    if any(a == b for a, b in pairwise(lamps)):
        return None
    timed, now = {}, LEAD_IN_S
    looks: dict[Thing, Thing] = {}
    for beat in order:
        start = now + WALK_S
        end = start + float(rng.uniform(1.15, 1.6))
        timed[beat] = replace(
            beat,
            doer=looks.get(beat.doer, beat.doer) if beat.doer else None,
            target=looks.get(beat.target, beat.target) if beat.target else None,
            walk=now,
            start=start,
            end=end,
            shift=float(rng.uniform(-0.06, 0.06)),
            mirror=bool(rng.random() < 0.5),
        )
        if beat.verb == "turns" and beat.doer:
            looks[beat.doer] = Thing(beat.value, beat.doer.shape)
        now = end
    if split != "demo" and any(beat.held_out for beat in timed.values()) != (split == "test"):
        return None
    position = {beat: i for i, beat in enumerate(order)}
    needed = tuple(tuple(sorted(position[beat] for beat in motif.needed)) for motif in motifs)
    causes = tuple(
        (position[a], position[b])
        for motif in motifs
        for block in motif.blocks
        for a, b in pairwise(block)
        if position[b] == position[a] + 1
    )
    return Story(
        place=place,
        split=split,
        index=index,
        layout=int(rng.choice(layouts(split))),
        cast=cast,
        beats=tuple(timed[beat] for beat in order),
        motifs=tuple(motifs),
        needed=needed,
        causes=causes,
        lamp=bool(lamps and lamps[0] == "off"),
        duration=now + LEAD_OUT_S,
    )


def _owns(motif: Motif, beat: Beat) -> bool:
    return any(beat is own for block in motif.blocks for own in block)


def _weave(rng: np.random.Generator, motifs: Sequence[Motif]) -> list[Beat]:
    """Merge the blocks of all motifs in random order, except within motifs with `keep_order`."""
    queues = []
    for motif in motifs:
        blocks = list(motif.blocks)
        if not motif.keep_order:
            blocks = [blocks[i] for i in rng.permutation(len(blocks))]
        queues.append(blocks)
    turns = rng.permutation([i for i, queue in enumerate(queues) for _ in queue])
    return [beat for turn in turns for beat in queues[turn].pop(0)]
