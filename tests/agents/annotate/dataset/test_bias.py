"""A bag-of-words model finds what gives answers away, and nothing where there is nothing."""

import numpy as np
import pytest

from agents.annotate.dataset.bias import answered_by_words, reject_guessable, word_bias
from espresso.schema import Question


def question(number, random, *, hint=False, per_video=3):
    """A question of random words about one of the videos; a hint is a word that only right options have."""

    def words(count):
        return " ".join(random.choice([f"word{n}" for n in range(200)], count))

    right, *wrong = (words(6) for _ in range(4))
    right += " because of it" * hint
    options = [right, *wrong]
    random.shuffle(options)
    return Question(id=str(number), visuals=(f"{number // per_video}.mp4",), text=words(8), options=tuple(options), answer=right)


def questions(count, *, hint=lambda number: False):
    random = np.random.default_rng(7)
    return [question(number, random, hint=hint(number)) for number in range(count)]


def test_random_questions_are_answered_at_chance():
    bias = word_bias(questions(300))
    assert bias.low < bias.chance == 0.25 < bias.high
    assert bias.questions == 300
    assert not reject_guessable(questions(300))


def test_words_that_only_right_options_have_give_the_answers_away():
    hinted = questions(300, hint=lambda number: number % 2 == 0)
    assert word_bias(hinted).low > 0.5
    assert set(reject_guessable(hinted)) == {str(number) for number in range(0, 300, 2)}
    probabilities = answered_by_words(hinted)
    assert list(probabilities) == [each.id for each in hinted]
    assert np.mean([probabilities[str(number)] for number in range(1, 300, 2)]) < 0.4


def test_a_pair_of_question_word_and_option_word_is_found():
    """The right option depends on the question: neither word gives it away alone."""
    pairs = [("indoors", "a lamp"), ("outdoors", "a tree")]
    asked = [
        Question(id=str(n), visuals=(f"{n}.mp4",), text=f"What is {where}?", options=("a lamp", "a tree"), answer=answer)
        for n, (where, answer) in enumerate(pairs * 60)
    ]
    assert word_bias(asked).accuracy == 1


def test_what_is_learned_of_a_video_does_not_count_for_the_video_itself():
    """Each video has a word of its own in its right options, which no other video shares."""
    own = [
        Question(
            id=str(n),
            visuals=(f"{n // 4}.mp4",),
            text="What?",
            options=tuple(f"{word}{n // 4}" for word in ("left", "right")),
            answer=f"{'left' if n // 4 % 2 else 'right'}{n // 4}",
        )
        for n in range(160)
    ]
    assert set(answered_by_words(own).values()) == {0.5}


def test_the_same_seed_gives_the_same_probabilities():
    asked = questions(60, hint=lambda number: number % 3 == 0)
    assert answered_by_words(asked, seed=1) == answered_by_words(asked, seed=1)
    assert answered_by_words(asked, seed=1) != answered_by_words(asked, seed=2)


def test_without_other_videos_or_words_in_common_all_options_are_equal():
    one_video = [each.model_copy(update={"visuals": ("a.mp4",)}) for each in questions(20)]
    assert set(answered_by_words(one_video).values()) == {0.25}
    strange = [
        Question(id=str(n), visuals=(f"{n}.mp4",), text=f"q{n}", options=(f"a{n}", f"b{n}"), answer=f"a{n}") for n in range(40)
    ]
    assert set(answered_by_words(strange).values()) == {0.5}
    bias = word_bias(strange)  # the answer is always first, which the words do not tell
    assert bias.low < 0.5 < bias.high


@pytest.mark.parametrize("asked", [[], [Question(id="1", visuals=("a.mp4",), text="What?", answer="a dog")]])
def test_open_questions_are_left_out(asked):
    assert answered_by_words(asked) == {}
    assert word_bias(asked) is None


def test_questions_with_different_numbers_of_options_are_measured_together():
    two = [each.model_copy(update={"options": (each.answer, "word1")}) for each in questions(30)]
    four = [each.model_copy(update={"id": f"four-{each.id}"}) for each in questions(30)]
    assert word_bias([*two, *four]).chance == pytest.approx(0.375)
