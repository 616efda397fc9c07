"""How well the words of a question and its options alone give away the answer, without a model.

`guess` of the construction asks a model whether it knows an answer without the video. It cannot see
what only shows over many questions: that right options prefer some words or are longer than the
distractors. A bag-of-words model that is trained on the questions of other videos finds such
patterns. Its accuracy belongs next to chance in the statistics of a dataset.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import log_softmax
from scipy.stats import binomtest

from espresso.schema import Question, Record

PENALTY = 1.0
"""Weight of half the squared norm of the coefficients, next to the sum of the questions' losses."""

MIN_QUESTIONS = 100
"""Questions with options from which on the model is worth training."""

TOLERANCE = 1e-5
"""The optimizer stops when an iteration improves the loss by less than this share of it."""


class WordBias(Record):
    """Accuracy of the bag-of-words model on questions of videos that it was not trained on."""

    questions: int
    """Questions with options."""

    accuracy: float
    """Share of questions whose right option is the most probable one."""

    low: float
    """Lower end of the 95 % interval of the accuracy (Wilson), which counts questions of one video
    as independent."""

    high: float
    """Upper end of the interval."""

    chance: float
    """Expected accuracy of a random choice."""


def answered_by_words(questions: Sequence[Question], folds: int = 5, seed: int = 0) -> dict[str, float]:
    """Return how probable the right option of each question is for a bag-of-words model.

    A softmax regression over the options of a question. The features of an option are its words,
    and each pair of one of its words and a word of the question. The videos are divided into folds;
    the questions of a fold are predicted by a model of the other folds, so that no model has seen
    the video of a question that it predicts.

    Args:
        questions: questions; those without options or answer are left out.
        folds: number of folds, at most as many as there are videos. One video alone has no other to
            learn from, and all of its options are equally probable.
        seed: seed of the order in which videos are divided into folds.

    Returns:
        Id of the question -> probability of its right option, 0 to 1.
    """
    closed = _closed(questions)
    probabilities = _predict(closed, folds, seed)
    return {question.id: float(each[_answer(question)]) for question, each in zip(closed, probabilities, strict=True)}


def reject_guessable(questions: Sequence[Question], above: float = 0.9) -> tuple[str, ...]:
    """Return the ids of the questions that the bag-of-words model answers with confidence.

    Args:
        questions: questions of all videos of a dataset.
        above: probability of the right option from which on a question counts as guessable.
    """
    return tuple(name for name, probability in answered_by_words(questions).items() if probability >= above)


def word_bias(questions: Sequence[Question], folds: int = 5, seed: int = 0) -> WordBias | None:
    """Return the accuracy of the bag-of-words model, see `answered_by_words`.

    Equally probable options are chosen from at random. None if no question has options.
    """
    closed = _closed(questions)
    if not closed:
        return None
    random = np.random.default_rng(seed)
    right = 0
    for question, each in zip(closed, _predict(closed, folds, seed), strict=True):
        right += int(random.choice(np.flatnonzero(each >= each.max() - 1e-9))) == _answer(question)
    interval = binomtest(right, len(closed)).proportion_ci(method="wilson")
    return WordBias(
        questions=len(closed),
        accuracy=right / len(closed),
        low=float(interval.low),
        high=float(interval.high),
        chance=float(np.mean([1 / len(question.options or ()) for question in closed])),
    )


def _closed(questions: Sequence[Question]) -> list[Question]:
    return [question for question in questions if question.options and question.answer is not None]


def _answer(question: Question) -> int:
    """Return the position of the answer among the options."""
    assert question.options
    assert question.answer is not None
    return question.options.index(question.answer)


def _predict(questions: Sequence[Question], folds: int, seed: int) -> list[np.ndarray]:
    """Return the probabilities of each question's options, predicted without its video."""
    if not questions:
        return []
    videos = list(dict.fromkeys(question.visuals for question in questions))
    order = np.random.default_rng(seed).permutation(len(videos))
    fold_of = {videos[video]: position % folds for position, video in enumerate(order)}
    features = _features(questions)
    ends = np.cumsum([len(question.options or ()) for question in questions])
    starts = ends - [len(question.options or ()) for question in questions]
    rows = [np.arange(start, end) for start, end in zip(starts, ends, strict=True)]
    probabilities = [np.full(len(each), 1 / len(each)) for each in rows]
    for fold in range(min(folds, len(videos)) if len(videos) > 1 else 0):
        train = [number for number, question in enumerate(questions) if fold_of[question.visuals] != fold]
        answers = np.array([_answer(questions[number]) for number in train])
        weights = _fit(features[np.concatenate([rows[number] for number in train])], [len(rows[n]) for n in train], answers)
        for number, question in enumerate(questions):
            if fold_of[question.visuals] == fold:
                probabilities[number] = np.exp(log_softmax(features[rows[number]] @ weights))
    return probabilities


def _features(questions: Sequence[Question]) -> csr_matrix:
    """Return a row of 0 and 1 for each option of each question.

    A feature is a word of the option, or a word of the question with a word of the option. Features
    that occur only once are left out: nothing can be learned from them for another video.
    """
    numbers = dict[str, int]()

    def words(text: str) -> np.ndarray:
        found = {numbers.setdefault(word, len(numbers) + 1) for word in re.findall(r"\w+", text.casefold())}
        return np.array(sorted(found), dtype=np.int64)

    codes = list[np.ndarray]()
    for question in questions:
        asked = np.append(0, words(question.text)) << 32  # 0 stands for the word of the option alone
        codes += [np.add.outer(asked, words(option)).ravel() for option in question.options or ()]
    row = np.repeat(np.arange(len(codes)), [len(each) for each in codes])
    _, column, count = np.unique(np.concatenate(codes), return_inverse=True, return_counts=True)
    repeated = count > 1
    kept = repeated[column]
    place = np.cumsum(repeated) - 1
    shape = (len(codes), int(repeated.sum()))
    return csr_matrix((np.ones(int(kept.sum())), (row[kept], place[column[kept]])), shape=shape)


def _fit(features: csr_matrix, sizes: Sequence[int], answers: np.ndarray) -> np.ndarray:
    """Return the coefficients of a softmax regression over the options of each question.

    Args:
        features: the options of all questions, shape (options, features).
        sizes: number of options of each question.
        answers: position of the right option of each question.
    """
    starts = np.cumsum([0, *sizes[:-1]])
    right = starts + answers
    target = np.zeros(features.shape[0])
    target[right] = 1

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = features @ weights
        scores -= np.repeat(np.maximum.reduceat(scores, starts), sizes)
        total = np.add.reduceat(np.exp(scores), starts)
        probability = np.exp(scores) / np.repeat(total, sizes)
        value = (np.log(total) - scores[right]).sum() + PENALTY / 2 * weights @ weights
        return float(value), features.T @ (probability - target) + PENALTY * weights

    fitted = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B", options={"ftol": TOLERANCE})
    return np.asarray(fitted.x)
