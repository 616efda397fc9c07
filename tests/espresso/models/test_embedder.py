"""Sentence embeddings, in this process and from a server."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from espresso import profiles
from espresso.errors import ModelError, ProfileError
from espresso.models import TransformersModel
from espresso.models.embedder import make_embedder
from espresso.profiles import LocalEmbedder, ServerEmbedder
from tests.http_server import http_server

TINY = profiles.load("tiny")
DOWN = {"backend": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}


async def test_similar_texts_are_nearer():
    embedder = make_embedder(TINY.embedder)
    text, similar, other = await embedder.embed(["red square hits it", "red square hits", "lid covers pan"])
    assert np.linalg.norm(text) == pytest.approx(1, abs=1e-5)
    assert text @ similar > text @ other


async def test_the_batch_does_not_change_a_vector():
    embedder = make_embedder(TINY.embedder)
    single = await embedder.embed(["red square"])
    batch = await embedder.embed(["red square", "the lid covers the pan and the jug pours water"])
    assert np.allclose(single[0], batch[0], atol=1e-5)


async def test_a_closed_embedder_loads_again():
    embedder = make_embedder(TINY.embedder)
    before = await embedder.embed(["red square"])
    embedder.close()
    assert np.array_equal(await embedder.embed(["red square"]), before)


async def test_the_first_token_can_be_the_sentence():
    first = make_embedder(LocalEmbedder(backend="transformers", model=TINY.embedder.model, pooling="first"))
    assert not np.allclose(await first.embed(["red square"]), await make_embedder(TINY.embedder).embed(["red square"]))


def vectors(request):
    data = [{"object": "embedding", "index": n, "embedding": [3.0, float(len(text))]} for n, text in enumerate(request["input"])]
    return 200, {"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


async def test_vectors_of_a_server_are_normalized():
    with http_server(answers=vectors) as server:
        normalized = await make_embedder(ServerEmbedder(backend="openai", model="m", base_url=server.url)).embed(["four"])
    assert np.allclose(normalized, [[0.6, 0.8]])


@pytest.fixture
def pickled(tmp_path):
    """The tiny embedder with its weights in pytorch_model.bin, as BGE-M3 publishes them."""
    weights = load_file(Path(TINY.embedder.model) / "model.safetensors")
    for file in Path(TINY.embedder.model).iterdir():
        if file.suffix in (".json", ".jinja"):
            shutil.copy(file, tmp_path)
    torch.save(weights, tmp_path / "pytorch_model.bin")
    return LocalEmbedder(backend="transformers", model=str(tmp_path))


async def test_weights_in_a_pickle_give_the_same_vectors(pickled):
    expected = await make_embedder(TINY.embedder).embed(["red square"])
    assert np.array_equal(await make_embedder(pickled).embed(["red square"]), expected)


async def test_a_pickle_that_runs_code_is_refused(pickled, tmp_path):
    torch.save({"weight": Attack(tmp_path / "attacked")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot load this model"):
        await make_embedder(pickled).load()
    assert not (tmp_path / "attacked").exists()


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


async def test_a_loaded_embedder_embeds_at_once():
    embedder = make_embedder(TINY.embedder)
    await embedder.load()
    _, model = embedder._model._loaded
    await embedder.embed(["red square"])
    assert embedder._model.get()[1] is model


async def test_loading_a_served_embedder_tries_it():
    with http_server(answers=vectors) as server:
        await make_embedder(ServerEmbedder(backend="openai", model="m", base_url=server.url)).load()
        assert len(server.asked) == 1
    with pytest.raises(ModelError, match=r"embeddings of m failed .* Correct \[embedder\] in the profile, or start its server"):
        await make_embedder(ServerEmbedder(**DOWN)).load()


async def test_an_embedder_that_cannot_be_used_says_why(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(ProfileError, match="environment variable NO_KEY"):
        await make_embedder(ServerEmbedder(**DOWN, api_key_env="NO_KEY")).embed(["a"])
    with pytest.raises(ModelError, match="the request for embeddings of m failed"):
        await make_embedder(ServerEmbedder(**DOWN)).embed(["a"])
    with pytest.raises(ModelError, match=rf"{tmp_path}: cannot load this model .* Name another one in \[embedder\]"):
        await make_embedder(LocalEmbedder(backend="transformers", model=str(tmp_path))).embed(["a"])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((400, {"detail": "no such model"}), "status 400: no such model"),
        ((404, b"<html><title>404 Not Found</title></html>"), "status 404: 404 Not Found"),
        ((200, {"error": {"message": "Insufficient balance"}}), "no embeddings in the reply: 'Insufficient balance'"),
        ((200, {"data": None}), "no embeddings in the reply"),
        ((200, {"data": [{"embedding": None}]}), "no embeddings in the reply"),
        ((200, b"hello"), "no embeddings in the reply: 'hello'"),
    ],
)
async def test_a_server_that_fails_is_quoted(answer, words):
    with http_server(answers=lambda request: answer) as server, pytest.raises(ModelError, match=words):
        await make_embedder(ServerEmbedder(backend="openai", model="m", base_url=server.url)).embed(["a"])


async def test_embeddings_of_a_server_may_lack_optional_fields_and_order(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # not used for this machine
    data = [{"index": 1, "embedding": [0.0, 2.0]}, {"index": 0, "embedding": [2.0, 0.0]}]
    with http_server(answers=lambda request: (200, {"data": data})) as server:
        embedded = await make_embedder(ServerEmbedder(backend="openai", model="m", base_url=server.url)).embed(["a", "b"])
    assert np.allclose(embedded, [[1.0, 0.0], [0.0, 1.0]])


async def test_a_key_that_cannot_be_sent_is_named(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret\n")
    with pytest.raises(ProfileError, match=r"environment variable MY_KEY contains a line break") as caught:
        await make_embedder(ServerEmbedder(**DOWN, api_key_env="MY_KEY")).embed(["a"])
    assert "secret" not in str(caught.value)


async def test_damaged_weights_are_one_sentence(tmp_path):
    source = Path(TINY.embedder.model)
    damaged = shutil.copytree(source, tmp_path / "damaged")
    with (damaged / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(ModelError, match="cannot load this model"):
        await make_embedder(LocalEmbedder(backend="transformers", model=str(damaged))).load()
    with pytest.raises(ModelError, match="cannot load this model"):
        _ = TransformersModel(str(damaged))._engine()
