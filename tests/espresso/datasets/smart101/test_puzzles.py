"""Every generated answer is derived again, by other code, from the question and what the picture shows."""

import math
import re
from collections import Counter, deque
from itertools import pairwise

import numpy as np
import pytest

from espresso.datasets.smart101.index import read_index
from espresso.datasets.smart101.puzzles import PUZZLES, draw, instance, mark_words, marks, rendered
from espresso.datasets.smart101.splits import TEST, VAL
from espresso.datasets.smart101.values import SEQUENCES, value_of

COLOURS = ("red", "blue", "green", "orange", "purple")
PLACES = ["at the top", "the second from the top", "in the middle", "the second from the bottom", "at the bottom"]
TALL = ["tallest", "second tallest", "third tallest", "second shortest", "shortest"]
LONG = ["longest", "second longest", "third longest", "second shortest", "shortest"]
WORDS = {"three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}


def number(question):
    return int(re.search(r"\d+", question)[0]) if re.search(r"\d+", question) else 1


def about_a_thing(solve):
    """Solve a puzzle in which the question names one of five things by its colour."""

    def solver(question, facts):
        (colour,) = [each for each in COLOURS if re.search(rf"\b{each}\b", question)]
        return str(solve(facts["things"][colour], question, facts))

    return solver


def doors(room, _, facts):
    near = {}
    for one, other in facts["doors"]:
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    queue, seen = deque([(room, 0)]), {room}
    while queue:
        here, steps = queue.popleft()
        if here == facts["star"]:
            return steps
        queue += [(each, steps + 1) for each in near[here] if each not in seen]
        seen |= set(near[here])


def visible(widths, *_):
    count, widest = 0, 0
    for width in widths:
        if width > widest:
            count, widest = count + 1, width
    return count


def clock(question, facts):
    hour = (facts["hour"] + 24 - number(question)) % 24
    return {0: "12:00 AM", 12: "12:00 PM"}.get(hour, f"{hour}:00 AM" if hour < 12 else f"{hour - 12}:00 PM")


def walk(question, facts):
    at = facts["start"]
    for _ in range(int(re.findall(r"\d+", question)[1])):
        at = (at + facts["step"]) % 10
    return next(letter for letter, post in facts["posts"].items() if post == at)


def taller(question, facts):
    """The tallest person has no arrow from a taller one; without this person, the next one has none."""
    left, order = set("ABCDE"), []
    while left:
        (top,) = [each for each in left if not any(b == each and a in left for a, b in facts["arrows"])]
        order.append(top)
        left.remove(top)
    return order[TALL.index(re.search(r"Who is the (.*)\?", question)[1])]


def hole(question, facts):
    wanted = next((int(n) for n in re.findall(r"exactly (\d)", question)), 4 if "all of" in question else 0)
    through = {
        letter: sum(x0 < x < x1 and y0 < y < y1 for x0, y0, x1, y1 in facts["sheets"])
        for letter, (x, y) in facts["points"].items()
    }
    (found,) = [letter for letter, count in through.items() if count == wanted]
    return found


def switch(question, facts):
    change = re.search(r"when (.*)\?", question)[1]
    if change.startswith("you switch"):
        one, other = re.findall("red|blue|green", change)
        new = {one: other, other: one}
    else:
        new = dict(re.findall(r"(\w+) becomes (\w+)", change))
    wanted = tuple(new.get(colour, colour) for colour in facts["pattern"])
    (found,) = [letter for letter, shown in facts["shown"].items() if shown == wanted]
    return found


def repeat(question, facts):
    x, y = facts["start"]
    for _ in range(WORDS[re.search(r"pattern (\w+) times", question)[1]]):
        x, y = x + facts["pattern"][0], y + facts["pattern"][1]
    return min(facts["points"], key=lambda letter: math.dist(facts["points"][letter], (x, y)))


def arrows(question, facts):
    named = [way for way in ("up", "down", "left", "right") if re.search(rf"\b{way}\b", question)]
    return str(facts["counts"][named[0] if named else "both ways"])


def encoded(question, facts):
    return "".join(facts["board"][cell] for cell in re.findall(r"[A-D][1-4]", question))


def strips(question, facts):
    order = sorted(facts["strips"], key=facts["strips"].get, reverse=True)
    return order[LONG.index(re.search(r"is the (.*)\?", question)[1])]


SOLVERS = {
    2: about_a_thing(lambda count, *_: count),
    7: about_a_thing(lambda stones, question, facts: number(question) * stones * facts["each"]),
    16: about_a_thing(lambda gates, *_: f"{min(gates)} and {max(gates)}"),
    18: about_a_thing(lambda order, *_: "-".join(str(card) for card in order)),
    22: about_a_thing(lambda height, question, _: f"{height + number(question)} cm"),
    25: clock,
    28: about_a_thing(lambda row, *_: next(n for n in range(100) if row[0] + row[1] * n == row[2])),
    37: about_a_thing(doors),
    39: about_a_thing(lambda road, *_: road[0]),
    42: about_a_thing(lambda spots, question, _: spots * number(question)),
    43: about_a_thing(lambda numbers, *_: numbers[0] + numbers[1] + numbers[2]),
    44: strips,
    53: about_a_thing(lambda depth, *_: depth),
    55: lambda question, facts: facts["from the top"][PLACES.index(re.search(r"(?:stick|one) is (.*)\?", question)[1])],
    59: about_a_thing(lambda pair, *_: max(int(f"{a}{b}") for a, b in (pair, pair[::-1]))),
    62: about_a_thing(lambda shelf, question, _: [1, 2, 3, 4, 5, 1, 2, 3, 4][shelf - 1 + number(question)]),
    64: about_a_thing(lambda taken, *_: taken),
    66: taller,
    71: about_a_thing(lambda first, question, _: list(range(first, first + 20))[number(question) - 1]),
    76: about_a_thing(lambda pair, _, facts: next(n for n in range(30) if n + sum(pair) == sum(facts["whole"]))),
    77: switch,
    81: about_a_thing(visible),
    83: repeat,
    86: arrows,
    88: about_a_thing(lambda price, question, _: sum([price] * number(question))),
    93: about_a_thing(lambda length, _, facts: f"{length + facts['school']} km"),
    94: about_a_thing(lambda height, _, facts: facts["grey"] - height),
    95: hole,
    97: about_a_thing(lambda cuts, *_: cuts + 1),
    98: walk,
    100: encoded,
}
"""Id -> solver of a question and the facts of its picture."""

EACH = pytest.mark.parametrize("puzzle", PUZZLES)


def answer_of(one):
    return (one.options or "ABCDE")[one.answer]


@EACH
def test_the_answer_follows_from_question_and_picture(puzzle):
    for index in range(200):
        one = instance(puzzle, index)
        assert SOLVERS[puzzle](one.question, one.facts) == answer_of(one), (index, one.question, one.facts)


@EACH
def test_five_instances_in_a_row_have_their_answers_at_five_letters(puzzle):
    answers = [instance(puzzle, index).answer for index in range(100)]
    assert all(sorted(answers[start : start + 5]) == [0, 1, 2, 3, 4] for start in range(0, 100, 5))


@EACH
def test_options_are_five_different_ones_with_different_values(puzzle):
    for index in range(100):
        options = instance(puzzle, index).options or tuple("ABCDE")
        assert len({value_of(puzzle, option) for option in options}) == 5


@EACH
def test_the_picture_alone_fits_five_questions_and_each_option_answers_one(puzzle):
    for index in range(20):
        one = instance(puzzle, index)
        if "things" not in one.facts:
            continue
        (asked,) = [each for each in COLOURS if re.search(rf"\b{each}\b", one.question)]
        questions = [re.sub(rf"\b{asked}\b", other, one.question) for other in one.facts["things"]]
        assert Counter(SOLVERS[puzzle](question, one.facts) for question in questions) == Counter(one.options)


@EACH
def test_the_question_alone_does_not_tell_the_answer(puzzle):
    """The most frequent answer to each wording in 1,000 instances is right in one of five others, or less."""
    counts, hits = {}, []
    for index in range(2000 if puzzle != 55 else 1000):
        one = instance(puzzle, index, seed=5)
        known = counts.setdefault(one.question, Counter())
        if index >= 500 and known:
            hits.append(known.most_common(1)[0][0] == answer_of(one))
        known[answer_of(one)] += 1
    assert not hits or np.mean(hits) < 0.2 + 4 * math.sqrt(0.16 / len(hits))


@EACH
def test_answers_are_spread_over_their_range(puzzle):
    counts = Counter(answer_of(instance(puzzle, index)) for index in range(1000))
    assert len(counts) >= 5
    assert max(counts.values()) / 1000 < 0.26


@EACH
def test_a_picture_is_drawn_within_224_pixels_and_is_the_same_again(puzzle):
    picture, again = (np.asarray(rendered(instance(puzzle, 7).picture)) for _ in range(2))
    assert picture.shape == (224, 224, 3)
    assert (picture == again).all()
    assert picture.std() > 10
    assert (np.asarray(rendered(instance(puzzle, 8).picture)) != picture).any()


def test_instances_of_a_puzzle_differ_and_so_do_seeds():
    for puzzle in PUZZLES:
        shown = {(one.question, str(one.facts)) for one in (instance(puzzle, index) for index in range(100))}
        assert len(shown) > 85
    assert instance(2, 0, seed=1).facts != instance(2, 0).facts


def test_there_are_puzzles_of_all_skills_of_sequences_and_of_each_part_of_the_puzzle_split():
    skills = Counter(puzzle.skill for puzzle in PUZZLES.values())
    assert len(PUZZLES) >= 20
    assert set(skills) == {"counting", "math", "logic", "path", "algebra", "measure", "spatial", "pattern", "order"}
    assert min(skills[skill] for skill in skills if skill != "order") >= 3
    assert len(SEQUENCES & set(PUZZLES)) == 4
    assert set(VAL) <= set(PUZZLES)
    assert len(set(TEST) & set(PUZZLES)) >= 8


def test_generated_puzzles_have_skill_and_difficulty_of_the_official_ones(real_index):
    official = read_index(real_index.parent, [])
    for puzzle in PUZZLES.values():
        assert (official[puzzle.id].skill, official[puzzle.id].difficulty) == (puzzle.skill, puzzle.difficulty)


def test_a_picture_gives_marks_where_things_are_drawn():
    def picture(pen):
        pen.disc(56, 112, 10, draw.COLOURS["red"])
        pen.text(112, 56, "7B")
        pen.arrow((20, 20), (20, 200), draw.COLOURS["blue"])
        pen.disc(-5, 3, 10)  # its centre lies outside

    found = marks(picture)
    disc, red = found[:2]
    assert (disc.word, red.word) == ("disc", "red")
    assert (red.x, red.y) == (0.25, 0.5)
    seven, b = (mark for mark in found if mark.word in ("7", "b"))
    assert seven.x < 0.5 < b.x
    assert seven.y == b.y == 0.25
    assert ("down", "blue") in pairwise(mark.word for mark in found)
    assert sum(mark.word == "disc" for mark in found) == 1


@pytest.mark.parametrize("puzzle", PUZZLES)
def test_every_puzzle_has_marks_in_its_picture(puzzle):
    found = marks(instance(puzzle, 0).picture)
    assert found
    assert all(0 <= mark.x < 1 and 0 <= mark.y < 1 for mark in found)
    assert {mark.word for mark in found if len(mark.word) > 1} <= {*mark_words()}
