"""Training examples of an LVLM: puzzles, with what a generated picture shows as evidence."""

import re
from pathlib import Path

import pytest

from espresso.datasets.smart101 import make
from espresso.datasets.smart101.examples import examples
from espresso.datasets.smart101.puzzles import PUZZLES
from espresso.datasets.smart101.puzzles.draw import COLOURS
from espresso.errors import DataError


@pytest.fixture(scope="module")
def generated():
    return examples("train", 2 * len(PUZZLES)).examples


def things(example):
    found = re.fullmatch(r"shown: (\w.*)\.", example.evidence)
    return found[1].split(", ")


def test_puzzles_take_turns(generated):
    assert [int(each.id.partition("-")[0]) for each in generated] == 2 * list(PUZZLES)
    for each in generated:
        assert each.answer in each.options
        assert len(each.options) == 5
        assert each.frames[0].pixels(112).shape == (112, 112, 3)


def test_the_evidence_has_what_is_asked_about_first(generated):
    counting = next(each for each in generated if each.id.startswith("2-"))
    first, *others = things(counting)
    colour = next(word for word in counting.question.rstrip("?").split() if word in COLOURS)
    assert first == f"{colour}{counting.answer}"
    assert [each.rstrip("0123456789") for each in others] == sorted({*COLOURS} - {colour})
    strips = next(each for each in generated if each.id.startswith("44-"))  # asks for a strip by its length
    assert [fact[0] for fact in things(strips)] == ["a", "b", "c", "d", "e"]


def test_every_puzzle_has_evidence(generated):
    assert all(things(each) for each in generated)
    arrows = next(each for each in generated if each.id.startswith("66-"))
    assert re.fullmatch(r"shown: arrows \w \w(, arrows \w \w)+\.", arrows.evidence)


def test_chosen_puzzles_take_turns_and_are_those_of_all(generated):
    some = examples("train", 4, only=(62, 2)).examples
    assert [each.id.partition("-")[0] for each in some] == ["2", "62", "2", "62"]
    assert {(each.id, each.evidence) for each in some} < {(each.id, each.evidence) for each in generated}


def test_no_puzzle_of_val_is_in_train(generated):
    assert not {each.id for each in examples("val", 2 * len(PUZZLES)).examples} & {each.id for each in generated}


def test_published_puzzles_have_no_evidence(tmp_path):
    make.build(tmp_path, [2], 20)
    with pytest.raises(DataError, match="have no evidence"):
        examples("train", None, folder=tmp_path)
    found = examples("train", 5, folder=tmp_path, evidence=False)
    assert [each.evidence for each in found.examples] == [""] * 5
    lost = found.examples[0].frames[0].source
    Path(lost).unlink()
    found = examples("train", 5, folder=tmp_path, evidence=False)
    assert [each.where for each in found.bad] == [f"2/img/{Path(lost).name}"]
    assert lost not in [each.frames[0].source for each in found.examples]
