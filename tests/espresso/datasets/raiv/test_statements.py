"""Statements, their truth and their reasons."""

import random

import pytest

from espresso.datasets.raiv.statements import FALSE_WAYS, RELATIONS, Claim, is_true, phrase, reasons, state, way


@pytest.fixture
def scenes(situation):
    return {
        "dog": situation("1", "jumping", ["rock"], {"agent": "dog", "place": "beach"}),
        "cat": situation("2", "jumping", ["rock"], {"agent": "cat"}),
        "man": situation("3", "reading", ["book"], {"agent": "man"}, unsure=["dog"]),
        "none": situation("4", "reading", ["book"]),
    }


@pytest.mark.parametrize(
    ("claim", "first", "second", "found", "true"),
    [
        (Claim("object", "both", noun="rock"), "dog", "cat", "both", True),
        (Claim("object", "both", noun="dog"), "dog", "cat", "first", False),
        (Claim("object", "neither", noun="dog"), "cat", "none", "neither", True),
        (Claim("object", "second", noun="dog"), "cat", "dog", "second", True),
        (Claim("object", "one", noun="rock"), "dog", "cat", "both", False),
        (Claim("object", "any", noun="dog"), "dog", "cat", "first", True),
        (Claim("object", "any", noun="dog"), "dog", "man", None, None),
        (Claim("object", "same", noun="rock"), "dog", "cat", "same", True),
        (Claim("object", "different", noun="rock"), "dog", "cat", "same", False),
        (Claim("action", "both", "jumping"), "dog", "cat", "both", True),
        (Claim("action", "first", "jumping"), "none", "dog", "second", False),
        (Claim("role", "both", "jumping", "agent", "dog"), "dog", "cat", "first", False),
        (Claim("role", "first", "jumping", "place", "beach"), "dog", "cat", None, None),
        (Claim("role", "first", "jumping", "place", "beach"), "dog", "man", "first", True),
        (Claim("role", "different", "jumping", "agent"), "dog", "cat", "different", True),
        (Claim("role", "same", "jumping", "agent"), "dog", "man", "first", False),
        (Claim("role", "same", "jumping", "place"), "dog", "cat", None, None),
    ],
)
def test_truth_follows_from_the_annotations(scenes, claim, first, second, found, true):
    assert way(claim, scenes[first], scenes[second]) == found
    assert is_true(claim, scenes[first], scenes[second]) is true


@pytest.mark.parametrize(
    ("claim", "kind", "text"),
    [
        (Claim("object", "both", noun="dog"), "im-im", "Both images show a dog."),
        (Claim("object", "first", noun="dog"), "im-vid", "The image shows a dog, but the video does not."),
        (Claim("action", "neither", "jumping"), "vid-vid", "Neither video shows jumping."),
        (Claim("role", "any", "jumping", "agent", "dog"), "im-im", "At least one of the images shows a dog jumping."),
        (Claim("role", "one", "hitting", "target", "dog"), "im-im",
         "Exactly one of the images shows hitting with a dog as the target."),
        (Claim("role", "different", "jumping", "agent"), "im-im", "Both images show jumping, but the agent is not the same."),
        (Claim("object", "same", noun="dog"), "vid-vid", "Both videos show a dog, and the action is the same."),
    ],
)  # fmt: skip
def test_statements_read_like_those_of_nlvr2(claim, kind, text):
    assert state(claim, kind, 0) == text


def test_a_role_is_put_into_the_sentence_of_its_verb():
    abstracts = {"clinging": "an AGENT clings to the CLUNGTO at a PLACE"}
    claim = Claim("role", "both", "clinging", "clungto", "rock")
    assert state(claim, "im-im", 0, abstracts) == "Both images show that someone or something clings to a rock."
    place = Claim("role", "both", "clinging", "place", "beach")
    assert phrase(place, abstracts) == "that someone or something clings to someone or something at a beach"
    tool = Claim("role", "both", "clinging", "tool", "rope")
    assert phrase(tool, abstracts) == "clinging with a rope as the tool"


def test_the_right_reason_is_one_of_three_different_ones():
    claim, rng = Claim("object", "both", noun="dog"), random.Random(0)
    given, right = reasons(claim, "im-im", "first", rng)
    assert set(given) == {
        "A dog can be seen in the first image but not in the second image.",
        "A dog can be seen in the second image but not in the first image.",
        "A dog can be seen in neither image.",
    }
    assert given[right] == "A dog can be seen in the first image but not in the second image."
    assert {reasons(claim, "im-im", "first", rng)[1] for _ in range(50)} == {0, 1, 2}


def test_statements_whose_text_gives_the_reason_away_have_none():
    assert reasons(Claim("object", "any", noun="dog"), "im-im", "neither", random.Random(0)) is None
    assert {relation for relation, ways in FALSE_WAYS.items() if len(ways) != 3} == {"any", "one"}


def test_all_statements_and_reasons_of_a_topic_differ():
    for topic, relations in RELATIONS.items():
        texts = [
            state(Claim(topic, each, "jumping", "agent", "dog"), "im-im", wording) for each in relations for wording in (0, 1)
        ]
        assert len(set(texts)) == len(texts)
