"""The models of a profile: shared where possible, opened late, freed together."""

import asyncio
import gc
import weakref

import pytest

from espresso import profiles
from espresso.errors import ModelError, ProfileError
from espresso.models import Message, OpenAIModel, TransformersModel, connect
from tests.http_server import completion, http_server

HELLO = [Message("user", ("Hello",))]


def test_roles_with_the_same_base_share_a_model():
    roles = connect(profiles.load("tiny"))
    assert roles.captioner is roles.reasoner
    assert len({id(model) for model in (roles.captioner, roles.selector, roles.judge)}) == 3
    assert roles.adapters.items() >= {"evidence": "evidence", "answer": "answer"}.items()


def test_each_backend_has_its_model():
    served = connect(profiles.load("tiny@localhost:8000"))
    assert isinstance(connect(profiles.load("tiny")).captioner, TransformersModel)
    assert isinstance(served.captioner, OpenAIModel)


def test_a_missing_api_key_is_named(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ProfileError, match=r"needs an API key\. Set the environment variable OPENAI_API_KEY"):
        connect(profiles.load("api"))


@pytest.mark.parametrize(("key", "fault"), [("sk-secret\n", "a line break"), ("sk-secretü", "the non-ASCII character")])
def test_an_api_key_that_cannot_be_sent_is_named_without_printing_it(monkeypatch, key, fault):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ProfileError, match=rf"the environment variable OPENAI_API_KEY contains {fault}") as caught:
        connect(profiles.load("api"))
    assert "secret" not in str(caught.value)


async def test_the_error_of_a_local_server_that_is_down_says_how_to_start_it(monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 0)
    roles = connect(profiles.load("tiny@localhost:9"))
    with pytest.raises(ModelError, match="`espresso serve models --profile tiny --port 9`"):
        await roles.captioner.chat(HELLO)
    await roles.disconnect()


async def test_closing_the_models_of_one_profile_frees_them_and_leaves_another_open():
    closed, other = connect(profiles.load("tiny")), connect(profiles.load("tiny"))
    closed.preload()
    await asyncio.gather(*(roles.selector.chat(HELLO, choices=["A", "B"]) for roles in (closed, other)))
    await closed.embedder.embed(["a red ball"])
    loaded = [weakref.ref(model._engine()) for model in (closed.captioner, closed.selector)]
    loaded.append(weakref.ref(closed.embedder._model.get()[1]))
    closed.close()
    gc.collect()
    assert [each() for each in loaded] == [None, None, None]
    with pytest.raises(ModelError, match="closed"):
        await closed.selector.chat(HELLO)
    assert (await other.selector.chat(HELLO, choices=["A", "B"])).text in "AB"
    other.close()


async def test_all_roles_are_disconnected_and_can_connect_again():
    with http_server(answers=lambda request: (200, completion("x"))) as server:
        models = [OpenAIModel(name, base_url=server.url, context_length=100, picture_tokens=1) for name in "abc"]
        roles = connect(profiles.load("tiny"))
        roles.captioner, roles.selector, roles.judge = models
        for _ in range(2):
            await asyncio.gather(*(model.chat(HELLO) for model in models))
            await roles.disconnect()
            assert all(not model._connections for model in models)
