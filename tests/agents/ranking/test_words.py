"""Words of questions and captions."""

import numpy as np
import pytest

from agents.ranking.words import bm25, indicators, overlap, split, stems


@pytest.mark.parametrize(
    ("question", "main", "anchor"),
    [
        ("what does the girl do after the boy fell", "what does the girl do", "the boy fell"),
        ("why did the man run at the end", "why did the man run", ""),
        ("why does the dog bark", "why does the dog bark", ""),
        ("when did it rain", "when did it rain", ""),
        ("", "", ""),
    ],
)
def test_a_question_splits_at_its_temporal_word(question, main, anchor):
    parts = split(question)
    assert (parts.main, parts.anchor) == (main, anchor)


def test_word_forms_match():
    assert set(stems("running dogs played")) == set(stems("the dog plays and runs"))


def test_the_caption_with_the_rare_word_of_the_question_scores_highest():
    captions = ["a man stands", "a man throws a ball", "a man sits"]
    assert bm25("why did the man throw the ball", captions).argmax() == 1
    assert overlap("why did the man throw the ball", captions).tolist() == [pytest.approx(1 / 3), 1, pytest.approx(1 / 3)]


def test_captions_without_words_score_nothing():
    assert not np.any(bm25("why", ["", "..."]))


def test_what_a_question_says_about_time_is_told():
    assert indicators("what happened after he sat") != indicators("what happened before he sat")
