"""Questions in the kitchen (recipes) and in the street (traffic at a traffic light)."""

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
"""Step -> its wording as an option and within a question."""

REASONS = {"light": "the red light", "walker": "a walker", "barrier": "a barrier", "": "a breakdown"}
"""`Beat.value` of a stopped vehicle -> its wording as an option."""

Things = Sequence[Thing]


def kitchen(rng: np.random.Generator, cast: Things) -> tuple[Motif, Motif]:
    """Make two questions about one recipe: the step after an ingredient, and an ingredient.

    Args:
        rng: source of randomness.
        cast: four ingredients; the last one is not used in the recipe.

    Returns:
        A cooking motif, and an ingredient motif about the same beats.
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
    """Ask which vehicle breaks the rules, what stops a vehicle, or which one crosses next.

    Args:
        rng: source of randomness.
        cast: four vehicles.
    """
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
