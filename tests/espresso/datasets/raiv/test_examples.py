"""Training examples over pairs of the world."""

import re

import pytest

from espresso import world as procedural
from espresso.datasets.raiv.examples import world_examples

KINDS = ("im-im", "im-vid", "vid-vid")


@pytest.fixture(scope="module")
def examples():
    return world_examples("train", 120, kinds=KINDS, reasons=0.5, first=300).examples


def test_kinds_and_labels_take_turns_and_reasons_follow_false_statements(examples):
    assert len(examples) == 120
    statements = [each for each in examples if each.options == ("True", "False")]
    assert sum(each.answer == "True" for each in statements) == pytest.approx(len(statements) / 2, abs=2)
    assert {tuple(dict.fromkeys(each.names)) for each in examples} == {
        ("the first image", "the second image"),
        ("the image", "the video"),
        ("the first video", "the second video"),
    }
    reasons = [each for each in examples if each.options != ("True", "False")]
    assert reasons
    for each in reasons:
        assert len(each.options) == 3
        assert each.answer in each.options
        assert each.id.endswith("-reason")


def parts(example):
    """Return what the evidence says about the first and the second visual, and the result of a comparison."""
    found = re.fullmatch(r"first: (.*?)\. second: (.*?)\.(?: (same|different)\.)?", example.evidence)
    return found[1], found[2], found[3]


def test_the_evidence_is_what_the_frames_show(examples):
    for each in examples:
        shown = dict(zip(each.names, each.frames, strict=True))
        for said, frame in zip(parts(each), shown.values(), strict=False):
            assert frame.index >= 300
            act = said.split("; ")[0].removesuffix(" yes")
            assert act == procedural.story("train", frame.index).caption(frame.time)


def test_the_evidence_marks_what_the_statement_is_about(examples):
    assert {parts(each)[2] for each in examples} == {None, "same", "different"}
    for each in examples:
        first, second, compared = parts(each)
        marked = "yes" in first, "yes" in second
        if re.search(r"in the (first \w+|image) but not", each.question) and each.options == ("True", "False"):
            assert (marked == (True, False)) == (each.answer == "True")
        if compared:
            assert marked == (True, True)


def test_a_thing_that_only_stands_by_is_marked_in_the_list(examples):
    marked = [(each, noun) for each in examples for said in parts(each)[:2] for noun in re.findall(r"[;,] (\w+ \w+) yes", said)]
    assert marked
    assert all(noun in each.question.lower() for each, noun in marked)


def test_an_image_has_one_frame_and_a_video_up_to_two(examples):
    for each in examples:
        for name in set(each.names):
            assert each.names.count(name) in ((1,) if "image" in name else (1, 2))
            assert [frame.time for frame, own in zip(each.frames, each.names, strict=True) if own == name] == sorted(
                frame.time for frame, own in zip(each.frames, each.names, strict=True) if own == name
            )


def test_another_seed_gives_other_examples():
    first, second = (world_examples("val", 10, kinds=("im-im",), reasons=0, seed=seed).examples for seed in (0, 1))
    assert [each.question for each in first] != [each.question for each in second]
