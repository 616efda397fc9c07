"""Words alone must tell nothing: a bag-of-words classifier trained on the train split stays near chance on the test split."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from espresso.world import questions_of, story


def ask(split, count):
    questions, index = [], 0
    while len(questions) < count:
        questions += questions_of(story(split, index), "clip.mp4")
        index += 1
    return questions[:count]


def bags(questions):
    """One bag an option: its words, the question's words beside each of them, and the words of the other options."""
    for question in questions:
        for option in question.options:
            others = " ".join(other for other in question.options if other != option)
            pairs = " ".join(f"{word}|{said}" for word in question.text.split() for said in option.split())
            yield f"{option} {pairs} " + " ".join(f"not:{word}" for word in others.split())


def right(questions):
    return np.array([question.options.index(question.answer) for question in questions])


@pytest.fixture(scope="module")
def split():
    return ask("train", 3000), ask("test", 1400)


def test_a_bag_of_words_scores_at_chance(split):
    train, test = split
    words = CountVectorizer(token_pattern=r"\S+", min_df=2)
    known = words.fit_transform(bags(train))
    labels = np.array([option == question.answer for question in train for option in question.options])
    model = LogisticRegression(max_iter=200, C=0.1).fit(known, labels)
    guesses = model.decision_function(words.transform(bags(test))).reshape(-1, 4).argmax(axis=1)
    assert (guesses == right(test)).mean() <= 0.32


def test_no_option_is_told_apart_by_length_or_place(split):
    _, test = split
    lengths = np.array([[len(option) for option in question.options] for question in test])
    truth = right(test)
    for guess in (lengths.argmax(axis=1), lengths.argmin(axis=1), *(np.full(len(test), place) for place in range(4))):
        assert (guess == truth).mean() <= 0.32
