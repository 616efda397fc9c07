"""Embedding texts once."""

import numpy as np

from agents.ranking.embeddings import WORDS, embed
from espresso.cache import Cache


class Counting:
    """An embedder that counts the texts it gets: the vector of a text is its number of words and letters."""

    name = "counting"

    def __init__(self):
        self.texts = []

    async def embed(self, texts):
        self.texts += texts
        rows = np.array([[len(text.split()), len(text)] for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


async def test_a_text_is_embedded_once_and_comes_back_the_same(tmp_path):
    embedder, cache = Counting(), Cache(tmp_path)
    first = await embed(["a", "b c", "a"], embedder, cache)
    again = await embed(["b c", "a"], embedder, cache)
    assert sorted(embedder.texts) == ["a", "b c"]
    assert all(np.array_equal(first[text], again[text]) for text in first)


async def test_a_long_text_is_embedded_in_parts_and_nothing_is_cut_off(tmp_path):
    embedder = Counting()
    vectors = await embed(["word " * (2 * WORDS + 1)], embedder, None)
    assert [len(text.split()) for text in embedder.texts] == [WORDS, WORDS, 1]
    assert len(vectors) == 1


async def test_no_texts(tmp_path):
    assert await embed([], Counting(), Cache(tmp_path)) == {}
