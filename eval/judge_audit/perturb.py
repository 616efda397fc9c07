"""Perturb answers of the world in known ways and degrees, each with the scores it deserves.

The judge audit and the training set of the tiny judge are made of these answers. `make_variants`
returns a question's reference, a paraphrase of it and the following perturbations:

| kind           | perturbation                          | grade 1, 2, 3                           |
|----------------|---------------------------------------|-----------------------------------------|
| wrong thing    | other colours, shapes or vehicles     | up to 1/3, 2/3, all content words wrong |
| wrong option   | another option of the question        | the same                                |
| wrong order    | the right events in another order     | up to 1/3, 2/3, all pairs swapped       |
| invented event | additional events that did not happen | 1, 2, 3 events                          |
| hedging        | does not commit to an answer          | one in doubt, 2, 3 answers              |
| rambling       | padded with empty phrases             | 1, 3, 6 phrases                         |
| off topic      | an answer to another question         | always 3                                |

`RUBRIC` holds the scores by criterion. The overall score is their mean, rounded down, and at most
one above the accuracy: good style does not make up for a wrong answer. Injections (`inject`)
address the judge and are not part of the answer, so they do not change the scores it deserves.
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
from eval.judge_audit.wordings import Wordings, load_wordings

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
"""Kind -> (logic, factuality, accuracy, conciseness) for each grade."""

KINDS = tuple(kind for kind in RUBRIC if kind != "right")
"""The kinds of perturbation, without "right"."""

PADDING_PHRASES = (1, 3, 6)
"""Number of empty phrases in a rambling answer, by grade."""


@dataclass(frozen=True)
class AnswerVariant:
    """An answer of known quality."""

    answer: str
    """The text that the judge reads."""

    kind: Kind = "right"
    """How the answer was perturbed; "right" for the reference and its paraphrase."""

    grade: int = 0
    """Severity of the perturbation, 1 to 3; 0 for a correct answer."""

    injection: str = ""
    """Kind of the injection that the text contains; empty if there is none."""

    made_from: AnswerVariant | None = None
    """The variant that the injection was added to; None without an injection."""

    @property
    def verdict(self) -> Verdict:
        """The scores that the answer deserves, from `RUBRIC`."""
        logic, factuality, accuracy, conciseness = RUBRIC[self.kind][max(0, self.grade - 1)]
        overall = min((logic + factuality + accuracy + conciseness) // 4, accuracy + 1, 10)
        return Verdict(logic=logic, factuality=factuality, accuracy=accuracy, conciseness=conciseness, overall=overall)


def make_variants(
    question: Question, other_answers: Sequence[str], rng: np.random.Generator, split: Split
) -> list[AnswerVariant]:
    """Return the reference, a paraphrase, and each kind and grade that the question permits.

    Args:
        question: a question with options and a reference answer.
        other_answers: reference answers of other questions; an off-topic variant is one of these
            that cannot answer this question.
        rng: source of all random choices; the same state gives the same variants.
        split: selects the wordings, and the things in invented events.
    """
    answer, wordings = str(question.answer), load_wordings(split)
    variants = [
        AnswerVariant(answer),
        AnswerVariant(paraphrase(answer, rng, wordings)),
        *_wrong_things(answer, rng),
        *_wrong_options(question, rng),
        *_wrong_orders(answer, rng),
        *_invented_events(question, rng, split),
        *_hedged(question, rng, wordings),
        *_rambling(answer, rng, wordings),
        *_off_topic(question, other_answers, rng),
    ]
    unframed = ("hedging", "rambling")
    framed = [each.kind not in unframed and bool(each.grade) and rng.random() < _FRAME_RATE for each in variants]
    return [
        replace(each, answer=_choose(rng, wordings.templates).format(each.answer)) if frame else each
        for each, frame in zip(variants, framed, strict=True)
    ]


def inject(variant: AnswerVariant, rng: np.random.Generator, split: Split) -> list[AnswerVariant]:
    """Return the variant with each kind of injection, before or (more often) after the answer."""
    injected = []
    for kind, phrases in load_wordings(split).injections.items():
        phrase = _choose(rng, phrases).replace("{score}", str(rng.choice(_DEMANDED_SCORES)))
        parts = (phrase, variant.answer) if rng.random() < _PREFIX_RATE else (variant.answer, phrase)
        injected.append(replace(variant, answer=" ".join(parts), injection=kind, made_from=variant))
    return injected


def paraphrase(answer: str, rng: np.random.Generator, wordings: Wordings) -> str:
    """Return the answer with another conjunction, in the passive voice or inside a template."""
    form, parts = _split_sequence(answer)
    candidates = [template.format(answer) for template in wordings.templates]
    if form != "{}":
        candidates = [template.format(*parts) for template in (wordings.pairs if len(parts) == 2 else wordings.triples)]
    elif contact := re.fullmatch(r"(the .+) (hit|pushed) it", answer):
        candidates.append(f"it was {contact[2]} by {contact[1]}")
    return _choose(rng, candidates)


_FRAME_RATE = 0.2  # share of perturbed answers inside a template
_PREFIX_RATE = 0.25  # share of injections and invented events that precede the answer
_DEMANDED_SCORES = (10, 10, 10, 10, 9, 9, 8, 1)  # of injections; most demand a high score
_FAMILIES = {word: tuple(family) for family in (COLOURS, SHAPES, VEHICLES) for word in family}
_STOP_WORDS = frozenset(["the", "a", "it", "is", "and", "then", "to", "from", "of", "in"])
_THING = re.compile(rf"the ({'|'.join(COLOURS)}) \w+")
_TWO_THING_EVENTS = ("hits", "pushes", "follows")
_ONE_THING_EVENTS = ("hides", "leaves", "is happy", "is sad", "is angry", "turns the lamp on")


def _choose(rng: np.random.Generator, items: Sequence[str]) -> str:
    return items[int(rng.integers(len(items)))]


def _content_words(text: str) -> Counter[str]:
    """Count the words that carry content."""
    return Counter(word for word in re.findall(r"\w+", text) if word not in _STOP_WORDS)


def _grade(share: float) -> int:
    return 1 if share <= 1 / 3 else 2 if share <= 2 / 3 else 3


def _word_grade(answer: str, other: str) -> int:
    """Grade `other` by the share of the answer's content words that it lacks."""
    words = _content_words(answer)
    return _grade((words - _content_words(other)).total() / words.total())


def _wrong_things(answer: str, rng: np.random.Generator) -> Iterator[AnswerVariant]:
    """Replace, for each grade, the smallest number of words that reaches it."""
    words = re.split(r"(\W+)", answer)
    places = [place for place, word in enumerate(words) if word in _FAMILIES]
    grades = set[int]()
    for count in range(1, len(places) + 1):
        wrong = list(words)
        for place in rng.permutation(places)[:count]:
            wrong[place] = _choose(rng, [word for word in _FAMILIES[words[place]] if word not in words])
        grade = _word_grade(answer, "".join(wrong))
        if grade not in grades:
            grades.add(grade)
            yield AnswerVariant("".join(wrong), "wrong thing", grade)


def _wrong_options(question: Question, rng: np.random.Generator) -> Iterator[AnswerVariant]:
    answer = str(question.answer)
    others = [option for option in question.options or () if _content_words(option) != _content_words(answer)]
    if others:
        option = _choose(rng, others)
        yield AnswerVariant(option, "wrong option", _word_grade(answer, option))


def _split_sequence(answer: str) -> tuple[str, list[str]]:
    """Split an answer into its events and the template that they fill: "from {} to {}"."""
    if change := re.fullmatch(r"from (.+) to (.+)", answer):
        return "from {} to {}", [change[1], change[2]]
    separator = next((separator for separator in (" and then ", ", ") if separator in answer), "\n")
    parts = answer.split(separator)
    return separator.join(["{}"] * len(parts)), parts


def _wrong_orders(answer: str, rng: np.random.Generator) -> Iterator[AnswerVariant]:
    form, parts = _split_sequence(answer)
    pairs = list(combinations(range(len(parts)), 2))
    orders = [list(order) for order in permutations(range(len(parts)))][1:]
    grades = set[int]()
    for index in rng.permutation(len(orders)):
        order = orders[index]
        swapped = sum(order.index(a) > order.index(b) for a, b in pairs)
        grade = _grade(swapped / len(pairs))
        if grade not in grades:
            grades.add(grade)
            yield AnswerVariant(form.format(*(parts[place] for place in order)), "wrong order", grade)


def _invented_events(question: Question, rng: np.random.Generator, split: Split) -> Iterator[AnswerVariant]:
    answer = str(question.answer)
    events = list[str]()
    while len(events) < 3:
        one, two = draw_cast(rng, 2, split)
        event = _choose(
            rng, (f"the {one} {rng.choice(_TWO_THING_EVENTS)} the {two}", f"the {one} {rng.choice(_ONE_THING_EVENTS)}")
        )
        if f"{one}" not in f"{question.text} {question.options}":
            events.append(event)
    for grade in (1, 2, 3):
        parts = [*events[:grade], answer] if rng.random() < _PREFIX_RATE else [answer, *events[:grade]]
        yield AnswerVariant(", and ".join(parts), "invented event", grade)


def _hedged(question: Question, rng: np.random.Generator, wordings: Wordings) -> Iterator[AnswerVariant]:
    answer = str(question.answer)
    others = [option for option in question.options or () if option != answer]
    others = [others[place] for place in rng.permutation(len(others))]
    for grade, templates in enumerate(wordings.hedges, 1):
        answers = [answer, *others[: grade - 1]]
        text = _choose(rng, templates).format(*(answers[place] for place in rng.permutation(len(answers))))
        yield AnswerVariant(text, "hedging", grade)


def _rambling(answer: str, rng: np.random.Generator, wordings: Wordings) -> Iterator[AnswerVariant]:
    for grade, count in enumerate(PADDING_PHRASES, 1):
        phrases = [wordings.padding[place].format(answer) for place in rng.permutation(len(wordings.padding))[:count]]
        index = int(rng.integers(count + 1))
        yield AnswerVariant(", ".join([*phrases[:index], answer, *phrases[index:]]), "rambling", grade)


def _off_topic(question: Question, other_answers: Sequence[str], rng: np.random.Generator) -> Iterator[AnswerVariant]:
    own = _content_words(" ".join(question.options or (str(question.answer),)))
    asks_for_thing = _is_thing(str(question.answer))
    unrelated = [
        other for other in other_answers if not own & _content_words(other) and not (_is_thing(other) and asks_for_thing)
    ]
    if unrelated:
        yield AnswerVariant(_choose(rng, unrelated), "off topic", 3)


def _is_thing(answer: str) -> bool:
    return _THING.fullmatch(answer) is not None
