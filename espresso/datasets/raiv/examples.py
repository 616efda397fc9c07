"""Training examples of an LVLM: pairs of the world, with evidence over both visuals.

The evidence says for each visual what happens, in the words of the world's captions, and which
other things are seen. "yes" follows what the statement is about, and "same" or "different" ends the
evidence for a comparison: "first: red circle hits blue square; black cross, green star yes. second:
lid covers pan; red square.". Without these words, a small model does not learn from true and false
alone how they follow from the rest.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from espresso import world as procedural
from espresso.datasets.base import Example, LoadedExamples
from espresso.datasets.raiv import world
from espresso.datasets.raiv.pairs import RaivPair, build_split
from espresso.datasets.raiv.questions import statement_question
from espresso.datasets.raiv.reasons import reason_question
from espresso.datasets.raiv.situations import Situation, VisualReference
from espresso.datasets.raiv.statements import Claim, Kind, names, shows, way
from espresso.datasets.world import RenderedFrame
from espresso.schema import Question


def world_examples(
    split: Literal["train", "val"], count: int, *, kinds: Sequence[Kind], reasons: float, seed: int = 0, first: int = 0
) -> LoadedExamples:
    """Generate training examples, the kinds of pairs in turn.

    Args:
        split: "train" or "val".
        count: number of examples.
        kinds: what the visuals of a pair are.
        reasons: probability that a false statement with reasons is followed by the question for its
            reason.
        seed: seed of the pairs and of the frame times.
        first: index of the first story.
    """
    share = {"train": 0.7, "val": 0.1}[split]
    situations = world.read(("image", "video"), {split: world.stories_for(round(count / share))[split]}, first=first).situations
    known = {each.visual: each for each in situations}
    pairs = [build_split(kind, situations, split, round(count / share / len(kinds)) + 2, seed) for kind in kinds]
    rng, examples = random.Random(seed), list[Example]()
    for several in zip(*pairs, strict=False):
        for pair in several:
            shown = (known[pair.visuals[0]], known[pair.visuals[1]])
            examples.append(_example(pair, statement_question(pair), shown, rng))
            if pair.reasons and rng.random() < reasons:
                examples.append(_example(pair, reason_question(pair), shown, rng))
    return LoadedExamples(tuple(examples[:count]))


def _example(pair: RaivPair, question: Question, shown: tuple[Situation, Situation], rng: random.Random) -> Example:
    frames = [_frames(visual, rng) for visual in pair.visuals]
    found = way(pair.claim, *shown)
    assert found, "a pair whose annotations do not say is not built"
    seen = [f"{place}: {_said(each, pair.claim)}." for place, each in zip(("first", "second"), shown, strict=True)]
    return Example(
        id=pair.id if question.options == ("True", "False") else f"{pair.id}-reason",
        question=question.text,
        frames=tuple(frame for each in frames for frame in each),
        evidence=" ".join([*seen, *([f"{found}."] if found in ("same", "different") else [])]),
        answer=question.answer or "",
        options=question.options or (),
        names=tuple(name for name, each in zip(names(pair.kind), frames, strict=True) for _ in each),
    )


def _frames(visual: VisualReference, rng: random.Random) -> tuple[RenderedFrame, ...]:
    """Return the frame of an image, or one or two of a video, as a selector may choose."""
    (frame, *_) = world.frames(visual, 1)
    if visual.kind == "image":
        return (frame,)
    start, end = visual.span or (0.0, 0.0)
    times = sorted(round(rng.uniform(start, end), 3) for _ in range(rng.randint(1, 2)))
    return tuple(RenderedFrame(frame.split, frame.index, time) for time in times)


def _said(situation: Situation, claim: Claim) -> str:
    """Return what a visual shows: what happens, and the things that only stand by.

    "yes" follows the topic of the claim.
    """
    start, end = situation.visual.span or (0.0, 0.0)
    story = procedural.story(situation.split, int(situation.visual.path.rpartition("/")[2]))
    act = story.caption((start + end) / 2)
    others = {noun: noun for noun in situation.objects if noun not in situation.roles.values()}
    if shows(claim, situation):
        if claim.topic == "object" and claim.noun in others:
            others[claim.noun] += " yes"
        else:
            act += " yes"
    return "; ".join(filter(None, (act, ", ".join(others.values()))))
