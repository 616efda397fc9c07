"""Words alone must tell nothing: a bag-of-words classifier trained on the train split stays near chance on the test split."""

import numpy as np
import pytest
import torch

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
            others = [f"not:{word}" for other in question.options if other != option for word in other.split()]
            yield [*option.split(), *(f"{word}|{said}" for word in question.text.split() for said in option.split()), *others]


def right(questions):
    return np.array([question.options.index(question.answer) for question in questions])


class BagOfWords:
    """Choice among four options by a sum of learnt word weights (multinomial logistic regression with weight decay)."""

    def __init__(self, questions):
        self.words = {word: i for i, word in enumerate(dict.fromkeys(word for bag in bags(questions) for word in bag))}
        self.weights = torch.nn.EmbeddingBag(len(self.words), 1, mode="sum")
        torch.nn.init.zeros_(self.weights.weight)
        known, labels = self.read(questions), torch.from_numpy(right(questions))
        optimizer = torch.optim.AdamW(self.weights.parameters(), lr=0.02, weight_decay=0.1)
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.scores(known), labels).backward()
            optimizer.step()

    def read(self, questions):
        rows = [[self.words[word] for word in bag if word in self.words] for bag in bags(questions)]
        starts = np.cumsum([0, *map(len, rows[:-1])])
        return torch.tensor([word for row in rows for word in row]), torch.tensor(starts)

    def scores(self, known):
        return self.weights(*known).view(-1, 4)


@pytest.fixture(scope="module")
def split():
    return ask("train", 3000), ask("test", 1400)


def test_a_bag_of_words_scores_at_chance(split):
    train, test = split
    model = BagOfWords(train)
    with torch.no_grad():
        seen = (model.scores(model.read(train)).argmax(dim=1).numpy() == right(train)).mean()
        guesses = model.scores(model.read(test)).argmax(dim=1).numpy()
    assert seen > 0.35  # it did learn what there is to learn by heart
    assert (guesses == right(test)).mean() <= 0.32


def test_no_option_is_told_apart_by_length_or_place(split):
    _, test = split
    lengths = np.array([[len(option) for option in question.options] for question in test])
    truth = right(test)
    for guess in (lengths.argmax(axis=1), lengths.argmin(axis=1), *(np.full(len(test), place) for place in range(4))):
        assert (guess == truth).mean() <= 0.32
