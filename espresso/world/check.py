"""Check an answer to a question about a clip of this world against the clip's acts.

The questions of the world have fixed wordings. For each, the rule that made it is applied to the
acts: the answer is true if it is the only one that follows from them. This judges questions that a
model wrote; nothing that answers or writes questions uses it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from espresso.schema import Task
from espresso.world.places import REASONS, STEPS
from espresso.world.yard import DEEDS, TOUCHES

PASSED = {past: verb for verb, past in TOUCHES.items()}
"""The past tense of a touch -> its verb."""
TRAITS = {"hits": "rough", "pushes": "rough", "gives": "generous", "hides": "timid", "follows": "clingy"}
THEMES = {
    ("hits", "hits"): "a quarrel",
    ("hits", "gives"): "a making up",
    ("gives", "hits"): "a falling out",
    ("gives", "gives"): "a friendship",
}


@dataclass(frozen=True)
class Act:
    """One act of a clip, as its JSON file records it."""

    verb: str
    doer: str | None
    target: str | None
    value: str


@dataclass(frozen=True)
class Conclusion:
    """What the acts of a clip say to a question."""

    task: Task

    answer: str

    needed: tuple[int, ...]
    """Positions of the acts that the answer follows from."""


def conclude(acts: Sequence[dict[str, Any]], question: str, answer: str) -> Conclusion | None:
    """Return what follows from a clip's acts.

    Args:
        acts: the acts in time order, as in a clip's JSON file.
        question: a question in one of the world's wordings.
        answer: the given answer, without which "How does the story go?" has many answers.

    Returns:
        The true answer, or None if the question has another wording, or none or several answers.
    """
    named = [Act(act["verb"], act["doer"], act["target"], act["value"]) for act in acts]
    for task, pattern, rule in _RULES:
        if match := re.fullmatch(pattern, question):
            found = rule(named, answer, **match.groupdict())
            return Conclusion(task, *found) if found else None
    return None


Found = tuple[str, tuple[int, ...]] | None
"""The true answer and the positions of the needed acts."""


def _positions(acts: Sequence[Act], condition: Callable[[Act], bool]) -> list[int]:
    return [position for position, act in enumerate(acts) if condition(act)]


def _only(positions: Sequence[int]) -> int | None:
    return positions[0] if len(positions) == 1 else None


def _causal(acts: Sequence[Act], _: str, thing: str, colour: str) -> Found:
    change = _only(_positions(acts, lambda act: act.verb == "turns" and (act.doer, act.value) == (thing, colour)))
    if not change:
        return None
    cause = acts[change - 1]
    if cause.verb not in TOUCHES or cause.target != thing:
        return None
    return f"the {cause.doer} {TOUCHES[cause.verb]} it", (change - 1, change)


def _contextual(acts: Sequence[Act], _: str, thing: str) -> Found:
    hiding = _only(_positions(acts, lambda act: act.verb == "hides" and act.doer == thing))
    if not hiding:
        return None
    before = acts[hiding - 1]
    match before.verb, before.value:
        case "lamp", state:
            return f"the lamp went {state}", (hiding - 1, hiding)
        case "feels", "angry":
            return f"the {before.doer} got angry", (hiding - 1, hiding)
        case "leaves", _:
            return f"the {before.doer} left", (hiding - 1, hiding)
    return None


def _event(acts: Sequence[Act], _: str, thing: str) -> Found:
    own = _positions(acts, lambda act: act.doer == thing)
    if len(own) != 2 or any(acts[i].verb not in (*DEEDS, "hides") for i in own):
        return None
    first, second = ("hides" if acts[i].verb == "hides" else f"{acts[i].verb} the {acts[i].target}" for i in own)
    return f"{first} and then {second}", tuple(own)


def _interaction(acts: Sequence[Act], _: str, one: str, two: str) -> Found:
    own = _positions(acts, lambda act: (act.doer, act.target) == (one, two) and act.verb in DEEDS)
    if len(own) != 2:
        return None
    first, second = (DEEDS[acts[i].verb] for i in own)
    return f"from {first} to {second}", tuple(own)


def _trait(acts: Sequence[Act], _: str, thing: str) -> Found:
    own = _positions(acts, lambda act: act.doer == thing)
    traits = Counter(
        "timid" if (acts[i].verb, acts[i].value) == ("feels", "scared") else TRAITS.get(acts[i].verb, "none") for i in own
    )
    (trait, count), *rest = traits.most_common() or [("none", 0)]
    if trait == "none" or count < 2 or (rest and rest[0][1] == count):
        return None
    return trait, tuple(own)


def _intent(acts: Sequence[Act], _: str, thing: str) -> Found:
    own = _positions(acts, lambda act: act.doer == thing and act.verb == "follows")
    followed = Counter(acts[i].target for i in own).most_common()
    if not followed or followed[0][1] < 2 or (len(followed) > 1 and followed[1][1] == followed[0][1]):
        return None
    return f"the {followed[0][0]}", tuple(own)


def _emotion(acts: Sequence[Act], _: str, thing: str) -> Found:
    own = _positions(acts, lambda act: act.doer == thing and act.verb == "feels")
    if len(own) != 2 or acts[own[0]].value == acts[own[1]].value:
        return None
    return f"from {acts[own[0]].value} to {acts[own[1]].value}", tuple(own)


def _influence(acts: Sequence[Act], _: str, one: str, past: str, two: str) -> Found:
    start = _only(_positions(acts, lambda act: (act.verb, act.doer, act.target) == (PASSED[past], one, two)))
    if start is None or start + 2 >= len(acts):
        return None
    touch, end = acts[start + 1], acts[start + 2]
    if touch.verb not in TOUCHES or touch.doer != two or touch.target != end.doer:
        return None
    match end.verb, end.value:
        case "hides", _:
            outcome = "hid"
        case "leaves", _:
            outcome = "left"
        case "feels", "angry" | "sad":
            outcome = f"got {end.value}"
        case _:
            return None
    return f"the {end.doer} {outcome}", (start, start + 1, start + 2)


def _role(acts: Sequence[Act], _: str, thing: str) -> Found:
    gifts = _positions(acts, lambda act: act.verb == "gives")
    if len(gifts) != 2 or acts[gifts[0]].target != acts[gifts[1]].doer:
        return None
    parts = {acts[gifts[0]].doer: "the sender", acts[gifts[1]].doer: "the messenger", acts[gifts[1]].target: "the receiver"}
    if thing not in parts and all(thing not in (act.doer, act.target) for act in acts):
        return None
    return parts.get(thing, "a bystander"), tuple(gifts)


def _narrative(acts: Sequence[Act], answer: str) -> Found:
    own = []
    for clause in answer.split(", "):
        part = re.fullmatch(r"the (\w+ \w+) (hits|hides|leaves|follows)", clause)
        position = part and _only(_positions(acts, lambda act, part=part: (act.doer, act.verb) == part.groups()))  # type: ignore[misc]
        if position is None:
            return None
        own.append(position)
    return (answer, tuple(own)) if len(own) == 3 and own == sorted(own) else None


def _theme(acts: Sequence[Act], _: str, one: str, two: str) -> Found:
    own = _positions(acts, lambda act: act.verb in ("hits", "gives") and {act.doer, act.target} == {one, two})
    return (THEMES[acts[own[0]].verb, acts[own[1]].verb], tuple(own)) if len(own) == 2 else None


def _situation(acts: Sequence[Act], _: str, thing: str) -> Found:
    own = _positions(acts, lambda act: thing in (act.doer, act.target))
    if not own:
        return None
    last = acts[own[-1]]
    if last.doer == thing and last.verb == "hides":
        return "behind the wall", tuple(own)
    if last.doer == thing and last.verb == "leaves":
        return f"off to the {last.value}", tuple(own)
    return "out in the open", tuple(own)


def _next_step(acts: Sequence[Act], _: str, thing: str) -> Found:
    added = _only(_positions(acts, lambda act: act.verb == "goes" and act.doer == thing))
    if added is None or added + 1 >= len(acts) or acts[added + 1].verb not in STEPS:
        return None
    return STEPS[acts[added + 1].verb][0], (added, added + 1)


def _ingredient_before(acts: Sequence[Act], _: str, step: str) -> Found:
    verb = next((verb for verb, (_, wording) in STEPS.items() if wording == step), None)
    done = _only(_positions(acts, lambda act: act.verb == verb))
    if not done or acts[done - 1].verb != "goes":
        return None
    return f"the {acts[done - 1].doer}", (done - 1, done)


def _ingredient_at(acts: Sequence[Act], _: str, rank: str) -> Found:
    added = _positions(acts, lambda act: act.verb == "goes")
    if len(added) != 3:
        return None
    return f"the {acts[added[('first', 'second', 'last').index(rank)]].doer}", tuple(added)


def _offender(acts: Sequence[Act], _: str) -> Found:
    crossing = _only(_positions(acts, lambda act: (act.verb, act.value) == ("crosses", "red")))
    return None if crossing is None else (f"the {acts[crossing].doer}", (crossing,))


def _obstacle(acts: Sequence[Act], _: str, thing: str) -> Found:
    stop = _only(_positions(acts, lambda act: act.verb in ("waits", "breaks") and act.doer == thing))
    goes = _only(_positions(acts, lambda act: act.verb == "crosses" and act.doer == thing))
    return None if stop is None or goes is None or goes < stop else (REASONS[acts[stop].value], (stop, goes))


def _next_crossing(acts: Sequence[Act], _: str, thing: str) -> Found:
    crossings = _positions(acts, lambda act: act.verb == "crosses")
    pairs = pairwise(crossings)
    return next(((f"the {acts[j].doer}", (i, j)) for i, j in pairs if acts[i].doer == thing), None)


_T = r"(?P<thing>\w+ \w+)"
_ONE, _TWO = r"(?P<one>\w+ \w+)", r"(?P<two>\w+ \w+)"
_RULES: tuple[tuple[Task, str, Callable[..., Found]], ...] = (
    (Task.CAUSAL, rf"(?:Why did|What made) the {_T} turn (?P<colour>\w+)\?", _causal),
    (Task.CONTEXTUAL, rf"What had just happened when the {_T} hid\?", _contextual),
    (Task.CONTEXTUAL, rf"In what situation did the {_T} hide\?", _contextual),
    (Task.EVENT, rf"What does the {_T} do first, and what then\?", _event),
    (Task.EVENT, rf"In which order does the {_T} act\?", _event),
    (Task.INTERACTION, rf"How does the {_ONE} treat the {_TWO} over time\?", _interaction),
    (Task.INTERACTION, rf"How do the {_ONE}'s dealings with the {_TWO} develop\?", _interaction),
    (Task.BEHAVIOR, rf"What is the {_T} like, going by most of its acts\?", _trait),
    (Task.BEHAVIOR, rf"Which word fits most of what the {_T} does\?", _trait),
    (Task.BEHAVIOR, rf"Whom does the {_T} go after most, by its ways\?", _intent),
    (Task.BEHAVIOR, rf"Going by its ways, whom is the {_T} after most\?", _intent),
    (Task.EMOTION, rf"How does the mood of the {_T} change\?", _emotion),
    (Task.EMOTION, rf"What becomes of the {_T}'s mood\?", _emotion),
    (Task.INFLUENCE, rf"The {_ONE} (?P<past>hit|pushed) the {_TWO}: what did that lead to in the end\?", _influence),
    (Task.INFLUENCE, rf"What came in the end of the {_ONE} having (?P<past>hit|pushed) the {_TWO}\?", _influence),
    (Task.ROLE, rf"A box goes from hand to hand: who is the {_T}\?", _role),
    (Task.ROLE, rf"What is the {_T}'s part when the box goes round\?", _role),
    (Task.NARRATIVE, r"Which summary tells the story in the right order\?|How does the story go\?", _narrative),
    (Task.THEME, rf"What is the story of the {_ONE} and the {_TWO} about\?", _theme),
    (Task.THEME, rf"Which theme joins the {_ONE} and the {_TWO}\?", _theme),
    (Task.SITUATION, rf"Where is the {_T} when it is all over\?", _situation),
    (Task.SITUATION, rf"After all this, where is the {_T}\?", _situation),
    (Task.COOKING, rf"What is done right after the {_T} goes in\?", _next_step),
    (Task.INGREDIENT, r"What goes in right before (?P<step>(?:the|it) [\w ]+)\?", _ingredient_before),
    (Task.INGREDIENT, r"Which ingredient goes in (?P<rank>first|second|last)\?", _ingredient_at),
    (Task.TRAFFIC, r"Which vehicle breaks the rules of the light\?", _offender),
    (Task.TRAFFIC, rf"What keeps the {_T} from driving on at first\?", _obstacle),
    (Task.TRAFFIC, rf"Which vehicle crosses right after the {_T}\?", _next_crossing),
)
"""Task, wording and rule of each kind of question."""
