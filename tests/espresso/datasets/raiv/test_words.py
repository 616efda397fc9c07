"""English for statements."""

import pytest

from espresso.datasets.raiv.words import head_noun, participle, with_article


@pytest.mark.parametrize(
    ("verb", "form"),
    [
        ("talk", "talking"), ("drive", "driving"), ("run", "running"), ("pick up", "picking up"), ("lie", "lying"),
        ("see", "seeing"), ("open", "opening"), ("begin", "beginning"), ("fix", "fixing"), ("show", "showing"),
        ("quit", "quitting"), ("panic", "panicking"), ("be", "being"), ("visit", "visiting"),
    ],
)  # fmt: skip
def test_a_verb_becomes_its_present_participle(verb, form):
    assert participle(verb) == form


@pytest.mark.parametrize(
    ("noun", "text"),
    [("dog", "a dog"), ("apple", "an apple"), ("people", "people"), ("shoes", "shoes"), ("bus", "a bus"), ("glass", "a glass"),
     ("bread", "bread"), ("uniform", "a uniform"), ("umbrella", "an umbrella"), ("tennis ball", "a tennis ball"),
     ("hourglass", "an hourglass"), ("horse", "a horse")],
)  # fmt: skip
def test_a_noun_gets_the_article_that_it_needs(noun, text):
    assert with_article(noun) == text


@pytest.mark.parametrize(
    ("phrase", "noun"),
    [("man in a white", "man"), ("in a home", "home"), ("his left arm", "arm"), ("The team captain of the club", "captain"),
     ("a woman wearing a red hat", "woman"), ("body towards sideways", "body"), ("himself", ""), ("", ""), ("the other", "")],
)  # fmt: skip
def test_a_phrase_is_reduced_to_its_head_noun(phrase, noun):
    assert head_noun(phrase) == noun
