"""A story: beats in time, and the questions they answer.

A beat is one act that can be seen in a single frame while it lasts ("red square hits blue circle"): people walk to their marks,
then hold the act for a second or more. A motif is what one question needs: blocks of beats (a block stays together and in order),
the question, and which beats it claims for itself, so that a second motif in the same clip cannot blur its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from espresso.schema import Task
from espresso.world.cast import TEST_ACTS, Split, Thing, layouts

LEAD_IN_S, LEAD_OUT_S = 0.3, 0.5
WALK_S = 0.5


@dataclass(frozen=True, eq=False)
class Beat:
    """One act. `value` is what the verb needs besides things: a mood, a colour, a side, a light, a reason.

    start, end: seconds during which the act can be seen. walk: seconds at which people begin to walk to their marks.
    """

    verb: str
    doer: Thing | None = None
    target: Thing | None = None
    value: str = ""
    walk: float = 0.0
    start: float = 0.0
    end: float = 0.0
    shift: float = 0.0
    mirror: bool = False

    @property
    def fact(self) -> str:
        """The caption of any frame within the beat; every word of it can be seen there."""
        return _FACTS[self.verb].format(doer=self.doer, target=self.target, value=self.value, shape=self.doer and self.doer.shape)

    @property
    def held_out(self) -> bool:
        """Whether only test clips may show it."""
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


@dataclass(frozen=True, eq=False)
class Motif:
    """What one question needs.

    blocks: beats that stay together, in order; keep_order: whether the blocks themselves must keep theirs. needed: the beats
    whose frames answer the question. claims: which beats of the whole clip would bear on the answer; only the motif's own may.
    """

    task: Task
    blocks: tuple[tuple[Beat, ...], ...]
    text: str
    options: tuple[str, ...]
    answer: str
    needed: tuple[Beat, ...]
    claims: Callable[[Beat], bool]
    keep_order: bool = False


@dataclass(frozen=True, eq=False)
class Story:
    """A clip before it is drawn.

    beats: in time order. needed: for each motif, the positions of the beats that answer it. causes: (earlier, later) positions.
    lamp: whether it is lit at the start. duration: seconds.
    """

    place: str
    split: Split
    index: int
    layout: int
    cast: tuple[Thing, ...]
    beats: tuple[Beat, ...]
    motifs: tuple[Motif, ...]
    needed: tuple[tuple[int, ...], ...]
    causes: tuple[tuple[int, int], ...]
    lamp: bool
    duration: float

    def beat_at(self, time: float) -> Beat | None:
        """The act that can be seen at a time (seconds), or None between acts."""
        return next((beat for beat in self.beats if beat.start <= time <= beat.end), None)

    def caption(self, time: float) -> str:
        """What a frame at that time shows."""
        beat = self.beat_at(time)
        return beat.fact if beat else NOTHING


def compose(
    place: str, split: Split, index: int, rng: np.random.Generator, cast: tuple[Thing, ...], motifs: Sequence[Motif]
) -> Story | None:
    """Motifs woven into one story, or None where they blur each other or break the split's rules (the caller draws again)."""
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
    """All blocks in one random order that keeps each `keep_order` motif's own order."""
    queues = []
    for motif in motifs:
        blocks = list(motif.blocks)
        if not motif.keep_order:
            blocks = [blocks[i] for i in rng.permutation(len(blocks))]
        queues.append(blocks)
    turns = rng.permutation([i for i, queue in enumerate(queues) for _ in queue])
    return [beat for turn in turns for beat in queues[turn].pop(0)]
