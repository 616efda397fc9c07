"""Sentences as vectors: in this process, and from a service."""

import numpy as np
import pytest

from espresso import profiles
from espresso.errors import ModelError, ProfileError
from espresso.models.embedder import embedding
from espresso.profiles import LocalEmbedder, ServerEmbedder
from tests.edges import served

TINY = profiles.load("tiny")
NOBODY = {"backend": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}


async def test_what_says_nearly_the_same_is_nearer():
    one, like, other = await embedding(TINY.embedder).embed(["red square hits it", "red square hits", "lid covers pan"])
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert one @ like > one @ other


async def test_a_text_has_the_same_vector_in_whatever_company():
    alone = await embedding(TINY.embedder).embed(["red square"])
    beside = await embedding(TINY.embedder).embed(["red square", "the lid covers the pan and the jug pours water"])
    assert np.allclose(alone[0], beside[0], atol=1e-5)


async def test_the_first_token_can_stand_for_all():
    first = embedding(LocalEmbedder(backend="transformers", model=TINY.embedder.model, pooling="first"))
    assert not np.allclose(await first.embed(["red square"]), await embedding(TINY.embedder).embed(["red square"]))


def vectors(request):
    data = [{"object": "embedding", "index": n, "embedding": [3.0, float(len(text))]} for n, text in enumerate(request["input"])]
    return 200, {"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


async def test_a_service_gives_vectors_of_length_one():
    with served(answers=vectors) as server:
        found = await embedding(ServerEmbedder(backend="openai", model="m", base_url=server.url)).embed(["four"])
    assert np.allclose(found, [[0.6, 0.8]])


async def test_what_cannot_be_had_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(ProfileError, match="as NO_KEY"):
        await embedding(ServerEmbedder(**NOBODY, api_key_env="NO_KEY")).embed(["a"])
    with pytest.raises(ModelError, match="gave no embeddings"):
        await embedding(ServerEmbedder(**NOBODY)).embed(["a"])
    with pytest.raises(ModelError, match="cannot be loaded"):
        await embedding(LocalEmbedder(backend="transformers", model=str(tmp_path))).embed(["a"])
