"""Questions in the yard: shapes hit, push, follow, give, hide, leave and change colour or mood.

There is one function per task (VideoEspresso, Table 9). Each draws the answer uniformly from four
options, then makes beats in which it is correct and at least one distractor is plausible, so
neither the text nor a single frame reveals it.

Args of every task function:
    rng: source of randomness.
    cast: five shapes in random order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np

from espresso.schema import Task
from espresso.world.cast import COLOURS, SHAPES, Thing
from espresso.world.story import Beat, Motif

Cast = Sequence[Thing]
TOUCHES = {"hits": "hit", "pushes": "pushed"}
DEEDS = {"hits": "hitting", "pushes": "pushing", "follows": "following", "gives": "giving"}
MOODS = ("happy", "sad", "angry", "scared")


def shuffled(rng: np.random.Generator, items: Sequence[str]) -> tuple[str, ...]:
    """Return the items in random order."""
    return tuple(items[i] for i in rng.permutation(len(items)))


def pick(rng: np.random.Generator, items: Sequence[str], count: int) -> list[str]:
    """Return `count` different items in random order."""
    return [items[i] for i in rng.permutation(len(items))[:count]]


def absent(rng: np.random.Generator, cast: Cast, shapes: Sequence[str]) -> Thing:
    """Return a thing that is not in the cast: a new colour and, if there is one, a new shape."""
    colours = [colour for colour in COLOURS if colour not in {thing.colour for thing in cast}]
    left = [shape for shape in shapes if shape not in {thing.shape for thing in cast}] or list(shapes)
    return Thing(str(rng.choice(colours)), str(rng.choice(left)))


def _say(rng: np.random.Generator, *wordings: str) -> str:
    """Return one of the wordings."""
    return wordings[int(rng.integers(len(wordings)))]


def _orders(first: str, second: str, decoy: str, phrase: str) -> tuple[str, ...]:
    """Return four ordered pairs, so that the answer depends on both actions and on their order."""
    pairs = ((first, second), (second, first), (first, decoy), (decoy, first))
    return tuple(phrase.format(a, b) for a, b in pairs)


def causal(rng: np.random.Generator, cast: Cast) -> Motif:
    """Ask which of two touches made a shape change colour: the one directly before."""
    one, two, thing = cast[:3]
    verbs = pick(rng, tuple(TOUCHES), 2)
    colour = str(rng.choice([c for c in COLOURS if c not in {x.colour for x in cast}]))
    cause, other = Beat(verbs[0], one, thing), Beat(verbs[1], two, thing)
    change = Beat("turns", thing, value=colour)
    options = tuple(f"the {doer} {TOUCHES[verb]} it" for doer in (one, two) for verb in verbs)
    return Motif(
        Task.CAUSAL,
        ((cause, change), (other,)),
        _say(rng, f"Why did the {thing} turn {colour}?", f"What made the {thing} turn {colour}?"),
        shuffled(rng, options),
        f"the {one} {TOUCHES[verbs[0]]} it",
        (cause, change),
        lambda beat: thing in (beat.doer, beat.target),
    )


def contextual(rng: np.random.Generator, cast: Cast) -> Motif:
    """Ask in which situation a shape hid: the event directly before."""
    one, two, three = cast[:3]
    scenes = {
        "the lamp went on": Beat("lamp", two, value="on"),
        "the lamp went off": Beat("lamp", two, value="off"),
        f"the {three} got angry": Beat("feels", three, value="angry"),
        f"the {three} left": Beat("leaves", three, value=_say(rng, "left", "right")),
    }
    first = pick(rng, tuple(scenes)[:2], 1) + pick(rng, tuple(scenes)[2:], 1)
    answer, decoy = pick(rng, first, 2)
    hiding = Beat("hides", one)
    return Motif(
        Task.CONTEXTUAL,
        ((scenes[answer], hiding), (scenes[decoy],)),
        _say(rng, f"What had just happened when the {one} hid?", f"In what situation did the {one} hide?"),
        shuffled(rng, tuple(scenes)),
        answer,
        (scenes[answer], hiding),
        lambda beat: beat.verb == "lamp" or (beat.verb, beat.doer) in (("hides", one), ("feels", three), ("leaves", three)),
    )


def event(rng: np.random.Generator, cast: Cast) -> Motif:
    """Ask for two actions of a shape in order."""
    one = cast[0]
    acts = {f"{verb} the {other}": Beat(verb, one, other) for verb in DEEDS for other in cast[1:3]} | {
        "hides": Beat("hides", one)
    }
    first, second, decoy = pick(rng, tuple(acts), 3)
    return Motif(
        Task.EVENT,
        ((acts[first],), (acts[second],)),
        _say(rng, f"What does the {one} do first, and what then?", f"In which order does the {one} act?"),
        shuffled(rng, _orders(*_either(rng, first, second), decoy, "{} and then {}")),
        f"{first} and then {second}",
        (acts[first], acts[second]),
        lambda beat: beat.doer == one,
        keep_order=True,
    )


def _either(rng: np.random.Generator, first: str, second: str) -> tuple[str, str]:
    """Return the two in random order; the action that all options share may be either one."""
    return (first, second) if rng.random() < 0.5 else (second, first)


def interaction(rng: np.random.Generator, cast: Cast) -> Motif:
    """Ask how a shape's treatment of another changes; it treats a third one differently."""
    one, two, three = cast[:3]
    first, second, decoy = pick(rng, tuple(DEEDS), 3)
    beats = [Beat(first, one, two), Beat(second, one, two)]
    a, b = _either(rng, first, second)
    return Motif(
        Task.INTERACTION,
        ((beats[0],), (beats[1],), (Beat(decoy, one, three),)),
        _say(rng, f"How does the {one} treat the {two} over time?", f"How do the {one}'s dealings with the {two} develop?"),
        shuffled(rng, _orders(DEEDS[a], DEEDS[b], DEEDS[decoy], "from {} to {}")),
        f"from {DEEDS[first]} to {DEEDS[second]}",
        tuple(beats),
        lambda beat: {beat.doer, beat.target} == {one, two} or (beat.doer == one and beat.target is not None),
        keep_order=True,
    )


def behavior(rng: np.random.Generator, cast: Cast) -> Motif:
    """Ask for a trait, or for whom a shape follows most, from the majority of its actions."""
    one, two, three = cast[:3]
    if rng.random() < 0.4:
        return _intent(rng, cast)
    traits = {
        "rough": (Beat("hits", one, two), Beat("pushes", one, three)),
        "generous": (Beat("gives", one, two), Beat("gives", one, three)),
        "timid": (Beat("hides", one), Beat("feels", one, value="scared")),
        "clingy": (Beat("follows", one, three), Beat("follows", one, two)),
    }
    trait, decoy = pick(rng, tuple(traits), 2)
    beats = (*traits[trait], traits[decoy][int(rng.integers(2))])
    return Motif(
        Task.BEHAVIOR,
        tuple((beat,) for beat in beats),
        _say(rng, f"What is the {one} like, going by most of its acts?", f"Which word fits most of what the {one} does?"),
        shuffled(rng, tuple(traits)),
        trait,
        beats,
        lambda beat: beat.doer == one,
    )


def _intent(rng: np.random.Generator, cast: Cast) -> Motif:
    one, two, three, four = cast[:4]
    beats = (Beat("follows", one, two), Beat("follows", one, two), Beat("follows", one, three))
    return Motif(
        Task.BEHAVIOR,
        tuple((beat,) for beat in beats),
        _say(rng, f"Whom does the {one} go after most, by its ways?", f"Going by its ways, whom is the {one} after most?"),
        shuffled(rng, tuple(f"the {x}" for x in (two, three, four, absent(rng, cast, SHAPES)))),
        f"the {two}",
        beats,
        lambda beat: beat.doer == one and beat.verb == "follows",
    )


def emotion(rng: np.random.Generator, cast: Cast) -> Motif:
    """Ask how the mood of a shape changes, while another shape has a mood of its own."""
    one, two = cast[:2]
    first, second, decoy = pick(rng, MOODS, 3)
    beats = (Beat("feels", one, value=first), Beat("feels", one, value=second))
    a, b = _either(rng, first, second)
    return Motif(
        Task.EMOTION,
        ((beats[0],), (Beat("feels", two, value=decoy),), (beats[1],)),
        _say(rng, f"How does the mood of the {one} change?", f"What becomes of the {one}'s mood?"),
        shuffled(rng, _orders(a, b, decoy, "from {} to {}")),
        f"from {first} to {second}",
        beats,
        lambda beat: beat.verb == "feels" and beat.doer == one,
        keep_order=True,
    )


def influence(rng: np.random.Generator, cast: Cast) -> Motif:
    """Ask for the final result of two touches in a row; the last shape also does something else."""
    one, two, three = cast[:3]
    verbs = pick(rng, tuple(TOUCHES), 2)
    outcomes = {
        f"the {three} hid": Beat("hides", three),
        f"the {three} left": Beat("leaves", three, value=_say(rng, "left", "right")),
        f"the {three} got angry": Beat("feels", three, value="angry"),
        f"the {three} got sad": Beat("feels", three, value="sad"),
    }
    answer, decoy = pick(rng, tuple(outcomes), 2)
    chain = (Beat(verbs[0], one, two), Beat(verbs[1], two, three), outcomes[answer])
    return Motif(
        Task.INFLUENCE,
        (chain, (outcomes[decoy],)),
        _say(
            rng,
            f"The {one} {TOUCHES[verbs[0]]} the {two}: what did that lead to in the end?",
            f"What came in the end of the {one} having {TOUCHES[verbs[0]]} the {two}?",
        ),
        shuffled(rng, tuple(outcomes)),
        answer,
        chain,
        lambda beat: beat.doer == three or (beat.doer, beat.target) in ((one, two), (two, three)),
    )


def role(rng: np.random.Generator, cast: Cast) -> Motif:
    """Ask for the role of a shape when a box is passed on."""
    who = dict(zip(("the sender", "the messenger", "the receiver", "a bystander"), cast, strict=False))
    answer = str(rng.choice(list(who)))
    sender, messenger, receiver, bystander = cast[:4]
    gifts = (Beat("gives", sender, messenger), Beat("gives", messenger, receiver))
    aside = Beat("feels", bystander, value=str(rng.choice(MOODS)))
    return Motif(
        Task.ROLE,
        ((gifts[0],), (aside,), (gifts[1],)) if rng.random() < 0.5 else ((gifts[0],), (gifts[1],), (aside,)),
        _say(
            rng,
            f"A box goes from hand to hand: who is the {who[answer]}?",
            f"What is the {who[answer]}'s part when the box goes round?",
        ),
        shuffled(rng, tuple(who)),
        answer,
        gifts,
        lambda beat: beat.verb == "gives",
        keep_order=True,
    )


def narrative(rng: np.random.Generator, cast: Cast) -> Motif:
    """Ask for the order of three actions."""
    one, two, three = cast[:3]
    acts = {
        f"the {one} {verb}": Beat(verb, one, cast[3]) if verb in DEEDS else Beat(verb, one)
        for verb in pick(rng, ("hits", "hides"), 1)
    } | {
        f"the {two} leaves": Beat("leaves", two, value=_say(rng, "left", "right")),
        f"the {three} follows": Beat("follows", three, one),
    }
    story = pick(rng, tuple(acts), 3)
    others = [", ".join(order) for order in permutations(acts) if list(order) != story]
    answer = ", ".join(story)
    return Motif(
        Task.NARRATIVE,
        tuple((acts[act],) for act in story),
        _say(rng, "Which summary tells the story in the right order?", "How does the story go?"),
        shuffled(rng, (answer, *pick(rng, others, 3))),
        answer,
        tuple(acts[act] for act in story),
        lambda beat: any(beat.verb == act.verb and beat.doer == act.doer for act in acts.values()),
        keep_order=True,
    )


def theme(rng: np.random.Generator, cast: Cast) -> Motif:
    """Ask for the theme of two interactions: gifts or hits, in either order."""
    themes = {
        "a quarrel": ("hits", "hits"),
        "a making up": ("hits", "gives"),
        "a falling out": ("gives", "hits"),
        "a friendship": ("gives", "gives"),
    }
    answer = str(rng.choice(list(themes)))
    one, two = cast[:2]
    turn = rng.random() < 0.5
    first = Beat(themes[answer][0], one, two)
    second = Beat(themes[answer][1], *((two, one) if turn else (one, two)))
    return Motif(
        Task.THEME,
        ((first,), (second,)),
        _say(rng, f"What is the story of the {one} and the {two} about?", f"Which theme joins the {one} and the {two}?"),
        shuffled(rng, tuple(themes)),
        answer,
        (first, second),
        lambda beat: beat.verb in ("hits", "gives") and {beat.doer, beat.target} == {one, two},
        keep_order=True,
    )


def situation(rng: np.random.Generator, cast: Cast) -> Motif:
    """Ask where a shape is at the end, after it was somewhere else before."""
    one = cast[0]
    places = {
        "behind the wall": Beat("hides", one),
        "off to the left": Beat("leaves", one, value="left"),
        "off to the right": Beat("leaves", one, value="right"),
        "out in the open": Beat("enters", one, value=_say(rng, "left", "right")),
    }
    before, answer = pick(rng, tuple(places), 2)
    if before == "behind the wall":  # a hidden shape cannot enter from outside
        places["out in the open"] = Beat("feels", one, value="happy")
    beats = (places[before], places[answer])
    return Motif(
        Task.SITUATION,
        ((beats[0],), (beats[1],)),
        _say(rng, f"Where is the {one} when it is all over?", f"After all this, where is the {one}?"),
        shuffled(rng, tuple(places)),
        answer,
        beats,
        lambda beat: one in (beat.doer, beat.target),
        keep_order=True,
    )


YARD: tuple[Callable[[np.random.Generator, Cast], Motif], ...] = (
    causal, contextual, event, interaction, behavior, emotion, influence, role, narrative, theme, situation,
)  # fmt: skip
