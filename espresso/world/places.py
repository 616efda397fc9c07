"""The kitchen and the street: recipes in a pan, traffic at a light."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espresso.schema import Task
from espresso.world.cast import VEHICLES, Thing
from espresso.world.story import Beat, Motif
from espresso.world.yard import absent, pick, shuffled

STEPS = {
    "stirs": ("it is stirred", "the pan is stirred"),
    "pours": ("water is poured", "the water is poured"),
    "salts": ("it is salted", "the pan is salted"),
    "heats": ("it is heated", "the pan is heated"),
    "covers": ("it is covered", "the pan is covered"),
}
"""Step -> how it is said as an answer, and within a question."""
REASONS = {"light": "the red light", "walker": "a walker", "barrier": "a barrier", "": "a breakdown"}
Things = Sequence[Thing]


def kitchen(rng: np.random.Generator, cast: Things) -> tuple[Motif, Motif]:
    """One recipe, two questions: what is done right after an ingredient, and which ingredient comes right before a step.

    cast: four ingredients, of which the last stays on the shelf. The second question is about the first one's beats.
    """
    steps = pick(rng, tuple(STEPS), 4)
    adds = [Beat("goes", thing) for thing in cast[:3]]
    does = [Beat(step) for step in steps[:3]]
    blocks = tuple(zip(adds, does, strict=True))
    after, before = (int(i) for i in rng.permutation(3)[:2])
    cooking = Motif(
        Task.COOKING,
        blocks,
        f"What is done right after the {cast[after]} goes in?",
        shuffled(rng, tuple(STEPS[step][0] for step in steps)),
        STEPS[steps[after]][0],
        blocks[after],
        lambda beat: False,
        keep_order=True,
    )
    options = tuple(f"the {thing}" for thing in cast)
    if rng.random() < 0.6:
        needed: tuple[Beat, ...] = blocks[before]
        text, answer = f"What goes in right before {STEPS[steps[before]][1]}?", cast[before]
    else:
        rank = int(rng.integers(3))
        text, needed, answer = f"Which ingredient goes in {('first', 'second', 'last')[rank]}?", tuple(adds), cast[rank]
    ingredient = Motif(Task.INGREDIENT, (), text, shuffled(rng, options), f"the {answer}", needed, lambda beat: False)
    return cooking, ingredient


def traffic(rng: np.random.Generator, cast: Things) -> Motif:
    """Who breaks the rule, what stops somebody, or who crosses right after whom. cast: four vehicles."""
    options = tuple(f"the {vehicle}" for vehicle in cast)
    kind = int(rng.integers(3))
    if kind == 0:
        guilty = int(rng.integers(3))
        crossings = [Beat("crosses", vehicle, value="red" if i == guilty else "green") for i, vehicle in enumerate(cast[:3])]
        order = [crossings[i] for i in rng.permutation(3)]
        waiting = Beat("waits", cast[3], value="light")
        needed: tuple[Beat, ...] = (crossings[guilty],)
        text, answer = "Which vehicle breaks the rules of the light?", options[guilty]
        beats = [*order, waiting] if rng.random() < 0.5 else [waiting, *order]
    elif kind == 1:
        reasons = pick(rng, tuple(REASONS), 2)
        stops = [Beat("waits" if reason else "breaks", v, value=reason) for reason, v in zip(reasons, cast, strict=False)]
        goes = Beat("crosses", cast[0], value="green")
        text, answer, needed = f"What keeps the {cast[0]} from driving on at first?", REASONS[reasons[0]], (stops[0], goes)
        options = tuple(REASONS.values())
        beats = [stops[0], goes, stops[1]] if rng.random() < 0.5 else [stops[1], stops[0], goes]
    else:
        crossings = [Beat("crosses", vehicle, value="green") for vehicle in cast[:3]]
        order = [crossings[i] for i in rng.permutation(3)]
        at = int(rng.integers(2))
        text = f"Which vehicle crosses right after the {order[at].doer}?"
        answer, needed = f"the {order[at + 1].doer}", (order[at], order[at + 1])
        beats = [*order, Beat("waits", cast[3], value="light")]
        options = (*(option for option in options if option != f"the {order[at].doer}"), f"the {absent(rng, cast, VEHICLES)}")
    return Motif(
        Task.TRAFFIC, tuple((beat,) for beat in beats), text, shuffled(rng, options), answer, needed, lambda beat: False, True
    )
