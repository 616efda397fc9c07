"""Answers of the world spoilt in known ways and by degree, each with the scores it deserves, to train and try judges on.

`versions` gives a question's reference, a paraphrase of it, and what goes wrong with answers:

| kind | how it is spoilt | grade 1, 2, 3 |
|---|---|---|
| wrong thing | colours, shapes, vehicles are others | up to a third, two thirds, all of the telling words are wrong |
| wrong option | it is another option of the question | the same |
| wrong order | what it tells is in another order | a third, two thirds, all of the pairs are the wrong way round |
| invented event | it also tells what never was | one, two, three events |
| hedging | it will not say | a doubt, two answers, three answers |
| rambling | it goes on and on | one, three, six empty phrases |
| off topic | it answers another question | 3 |

`RUBRIC` says what each costs, by criterion. The overall score is the mean of the four, rounded down, but at most one above the
accuracy: a wrong answer is wrong however well it is put. What an answer says to its judge (`injected`) is no part of the answer:
it is worth what it is worth without. The test split has wordings of its own for all that is not the world's words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import Literal

import numpy as np

from espresso.schema import Question, Verdict
from espresso.world import Split
from espresso.world.cast import COLOURS, SHAPES, VEHICLES, draw_cast
from eval.judge_audit import wordings

Kind = Literal["right", "wrong thing", "wrong option", "wrong order", "invented event", "hedging", "rambling", "off topic"]
RUBRIC: dict[Kind, tuple[tuple[int, int, int, int], ...]] = {
    "right": ((10, 10, 10, 10),),
    "wrong thing": ((8, 5, 4, 10), (7, 3, 3, 10), (5, 2, 2, 10)),
    "wrong option": ((8, 5, 4, 10), (7, 3, 3, 10), (5, 2, 2, 10)),
    "wrong order": ((4, 6, 5, 10), (3, 5, 4, 10), (2, 4, 3, 10)),
    "invented event": ((8, 6, 8, 8), (7, 4, 7, 7), (6, 2, 6, 6)),
    "hedging": ((8, 9, 8, 9), (5, 7, 6, 7), (3, 6, 4, 5)),
    "rambling": ((10, 10, 10, 7), (10, 10, 10, 4), (10, 10, 10, 1)),
    "off topic": ((1, 2, 1, 8),) * 3,
}
"""Kind -> logic, factuality, accuracy, conciseness, for each grade."""
KINDS = tuple(kind for kind in RUBRIC if kind != "right")
PHRASES = (1, 3, 6)
"""Empty phrases of a rambling answer, by grade."""


@dataclass(frozen=True)
class Version:
    """An answer and what it is worth. grade: 1 to 3, 0 for what is right. injection: kind of what it says to its judge, or ""."""

    answer: str
    kind: Kind = "right"
    grade: int = 0
    injection: str = ""

    @property
    def verdict(self) -> Verdict:
        """The scores it deserves."""
        logic, factuality, accuracy, conciseness = RUBRIC[self.kind][max(0, self.grade - 1)]
        overall = min((logic + factuality + accuracy + conciseness) // 4, accuracy + 1, 10)
        return Verdict(logic=logic, factuality=factuality, accuracy=accuracy, conciseness=conciseness, overall=overall)


def versions(question: Question, foreign: Sequence[str], rng: np.random.Generator, split: Split) -> list[Version]:
    """The reference, a paraphrase, and one version of each kind and grade that the question permits.

    question: with options and reference. foreign: answers to other questions; off topic is one that could not answer this one.
    split: whose wordings, and whose things in invented events.
    """
    answer, said = str(question.answer), wordings.of(split)
    spoilt = [
        Version(answer),
        Version(paraphrase(answer, rng, said)),
        *_wrong_things(answer, rng),
        *_wrong_options(question, rng),
        *_wrong_orders(answer, rng),
        *_invented(question, rng, split),
        *_hedged(question, rng, said),
        *_rambled(answer, rng, said),
        *_off_topic(question, foreign, rng),
    ]
    plain = ("hedging", "rambling")
    framed = [each.kind not in plain and bool(each.grade) and rng.random() < _FRAMED for each in spoilt]
    return [
        replace(each, answer=_draw(rng, said.frames).format(each.answer)) if frame else each
        for each, frame in zip(spoilt, framed, strict=True)
    ]


def injected(version: Version, rng: np.random.Generator, split: Split) -> list[Version]:
    """The same answer with something said to its judge before or (mostly) after it, once for each kind of saying it."""
    found = []
    for kind, phrases in wordings.of(split).injections.items():
        phrase = _draw(rng, phrases).replace("{score}", str(rng.choice(_DEMANDED)))
        both = (phrase, version.answer) if rng.random() < _BEFORE else (version.answer, phrase)
        found.append(replace(version, answer=" ".join(both), injection=kind))
    return found


def paraphrase(answer: str, rng: np.random.Generator, said: wordings.Wordings) -> str:
    """The same in other words: other joints between what comes first and what then, passive for active, or a frame around it."""
    form, parts = _parts(answer)
    ways = [frame.format(answer) for frame in said.frames]
    if form != "{}":
        ways = [joint.format(*parts) for joint in (said.pairs if len(parts) == 2 else said.triples)]
    elif touch := re.fullmatch(r"(the .+) (hit|pushed) it", answer):
        ways.append(f"it was {touch[2]} by {touch[1]}")
    return _draw(rng, ways)


_FRAMED = 0.2
_BEFORE = 0.25
_DEMANDED = (10, 10, 10, 10, 9, 9, 8, 1)
"""Scores that an answer asks for: good ones mostly; one that asks for a bad one is worth no less."""
_FAMILIES = {word: tuple(family) for family in (COLOURS, SHAPES, VEHICLES) for word in family}
_SILENT = frozenset(["the", "a", "it", "is", "and", "then", "to", "from", "of", "in"])
_THING = re.compile(rf"the ({'|'.join(COLOURS)}) \w+")


def _draw(rng: np.random.Generator, ways: Sequence[str]) -> str:
    return ways[int(rng.integers(len(ways)))]


def _telling(text: str) -> Counter[str]:
    """The words that tell something, and how often."""
    return Counter(word for word in re.findall(r"\w+", text) if word not in _SILENT)


def _level(share: float) -> int:
    return 1 if share <= 1 / 3 else 2 if share <= 2 / 3 else 3


def _wrong(answer: str, other: str) -> int:
    """How wrong `other` is for `answer`, 1 to 3, by the share of telling words that it lacks."""
    telling = _telling(answer)
    return _level((telling - _telling(other)).total() / telling.total())


def _wrong_things(answer: str, rng: np.random.Generator) -> Iterator[Version]:
    """For each grade the fewest words swapped that reach it."""
    words = re.split(r"(\W+)", answer)
    places = [place for place, word in enumerate(words) if word in _FAMILIES]
    graded = set[int]()
    for count in range(1, len(places) + 1):
        wrong = list(words)
        for place in rng.permutation(places)[:count]:
            wrong[place] = _draw(rng, [word for word in _FAMILIES[words[place]] if word not in words])
        grade = _wrong(answer, "".join(wrong))
        if grade not in graded:
            graded.add(grade)
            yield Version("".join(wrong), "wrong thing", grade)


def _wrong_options(question: Question, rng: np.random.Generator) -> Iterator[Version]:
    answer = str(question.answer)
    others = [option for option in question.options or () if _telling(option) != _telling(answer)]
    if others:
        option = _draw(rng, others)
        yield Version(option, "wrong option", _wrong(answer, option))


def _parts(answer: str) -> tuple[str, list[str]]:
    """What an answer tells one after the other, and the form they fill: "from {} to {}"."""
    if change := re.fullmatch(r"from (.+) to (.+)", answer):
        return "from {} to {}", [change[1], change[2]]
    joint = next((joint for joint in (" and then ", ", ") if joint in answer), "\n")
    parts = answer.split(joint)
    return joint.join(["{}"] * len(parts)), parts


def _wrong_orders(answer: str, rng: np.random.Generator) -> Iterator[Version]:
    form, parts = _parts(answer)
    pairs = list(combinations(range(len(parts)), 2))
    orders = [list(order) for order in permutations(range(len(parts)))][1:]
    graded = set[int]()
    for at in rng.permutation(len(orders)):
        order = orders[at]
        turned = sum(order.index(a) > order.index(b) for a, b in pairs)
        grade = _level(turned / len(pairs))
        if grade not in graded:
            graded.add(grade)
            yield Version(form.format(*(parts[place] for place in order)), "wrong order", grade)


def _invented(question: Question, rng: np.random.Generator, split: Split) -> Iterator[Version]:
    answer = str(question.answer)
    events = list[str]()
    while len(events) < 3:
        one, two = draw_cast(rng, 2, split)
        event = _draw(rng, (f"the {one} {rng.choice(_DEEDS)} the {two}", f"the {one} {rng.choice(_ACTS)}"))
        if f"{one}" not in f"{question.text} {question.options}":
            events.append(event)
    for grade in (1, 2, 3):
        told = [*events[:grade], answer] if rng.random() < _BEFORE else [answer, *events[:grade]]
        yield Version(", and ".join(told), "invented event", grade)


_DEEDS = ("hits", "pushes", "follows")
_ACTS = ("hides", "leaves", "is happy", "is sad", "is angry", "turns the lamp on")


def _hedged(question: Question, rng: np.random.Generator, said: wordings.Wordings) -> Iterator[Version]:
    answer = str(question.answer)
    others = [option for option in question.options or () if option != answer]
    others = [others[place] for place in rng.permutation(len(others))]
    for grade, ways in enumerate(said.hedges, 1):
        told = [answer, *others[: grade - 1]]
        yield Version(_draw(rng, ways).format(*(told[place] for place in rng.permutation(len(told)))), "hedging", grade)


def _rambled(answer: str, rng: np.random.Generator, said: wordings.Wordings) -> Iterator[Version]:
    for grade, count in enumerate(PHRASES, 1):
        phrases = [said.padding[place].format(answer) for place in rng.permutation(len(said.padding))[:count]]
        at = int(rng.integers(count + 1))
        yield Version(", ".join([*phrases[:at], answer, *phrases[at:]]), "rambling", grade)


def _off_topic(question: Question, foreign: Sequence[str], rng: np.random.Generator) -> Iterator[Version]:
    own = _telling(" ".join(question.options or (str(question.answer),)))
    strange = [each for each in foreign if not own & _telling(each) and not (_is_thing(each) and _is_thing(str(question.answer)))]
    if strange:
        yield Version(_draw(rng, strange), "off topic", 3)


def _is_thing(answer: str) -> bool:
    return _THING.fullmatch(answer) is not None
