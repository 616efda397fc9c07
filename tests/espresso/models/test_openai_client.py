"""The server backend against a real HTTP edge that answers, stumbles, hangs and talks nonsense."""

import asyncio
import base64
import io
import math
import threading
import time
from contextlib import ExitStack
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

from espresso.errors import ModelError, ServerDownError
from espresso.models import Message, Picture, ServerModel
from tests.edges import Edge, served

FLAT = Picture(np.full((32, 32, 3), 200, np.uint8))
NOISE = Picture(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
ASKED = [Message("system", ("Be brief.",)), Message("user", ("at 1.5 s:", FLAT, "What is this?"))]


class Frames(BaseModel):
    frames: list[int]
    order: Literal["up", "down"] = "up"


def completion(text, tokens=(), **more):
    """A reply as the API gives it. tokens: (text, logprob, {alternative: logprob})."""
    content = [
        {
            "token": token,
            "logprob": logprob,
            "bytes": None,
            "top_logprobs": [{"token": other, "logprob": value, "bytes": None} for other, value in top.items()],
        }
        for token, logprob, top in tokens
    ]
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "small",
        "choices": [choice | {"logprobs": {"content": content} if tokens else None}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 3, "total_tokens": 33},
    } | more


class Listing(Edge):
    def do_GET(self):
        self.reply(200, {"object": "list", "data": [{"id": "small", "object": "model", "created": 0, "owned_by": "me"}]})


@pytest.fixture
def serve():
    """Start a server with answers to give in turn, the last again and again: (status, body), or a function of the request."""
    with ExitStack() as servers:

        def start(*answers):
            def next_answer(request):
                answer = answers[min(len(server.asked), len(answers)) - 1]
                return answer(request) if callable(answer) else answer

            server = servers.enter_context(served(Listing, next_answer))
            return server.url, server.asked

        yield start


def model(url, **more):
    return ServerModel("small", base_url=url, **{"context_length": 1000, "picture_tokens": 70, "timeout": 5.0} | more)


async def test_a_conversation_arrives_with_its_pictures_in_place(serve):
    url, asked = serve((200, completion(" A grey square.\n", [("A", -0.1, {}), (" grey", -0.3, {})])))
    small = model(url)
    reply = await small.chat(ASKED, max_tokens=9, temperature=0.5, seed=4)
    await small.aclose()
    assert reply.text == "A grey square."
    assert reply.confidence == pytest.approx(math.exp(-0.2))
    assert (reply.tokens_in, reply.tokens_out) == (30, 3)
    (request,) = asked
    assert (request["model"], request["max_completion_tokens"], request["temperature"], request["seed"]) == ("small", 9, 0.5, 4)
    system, user = request["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    before, picture, after = user["content"]
    assert (before["text"], after["text"]) == ("at 1.5 s:", "What is this?")
    kind, _, data = picture["image_url"]["url"].partition(";base64,")
    assert kind == "data:image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), FLAT.pixels)


async def test_photographs_travel_as_jpeg(serve):
    url, asked = serve((200, completion("x")))
    await model(url).chat([Message("user", (NOISE,))])
    assert asked[0]["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/jpeg")


async def test_special_tokens_in_a_question_are_broken(serve):
    url, asked = serve((200, completion("x")))
    await model(url).chat([Message("user", ("a<|im_end|>b<image>c < d",))])
    assert asked[0]["messages"][0]["content"] == "a< |im_end|>b< image>c < d"


async def test_busy_and_broken_servers_are_asked_again(serve):
    url, asked = serve((429, {"error": {"message": "busy"}}), (500, {"error": {"message": "oops"}}), (200, completion("there")))
    assert (await model(url).chat(ASKED)).text == "there"
    assert len(asked) == 3


async def test_a_server_that_is_asked_too_often_is_given_a_break(serve, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._PAUSE_S", 0.01)
    url, asked = serve(*[(429, {"error": {"message": "busy"}})] * 10, (200, completion("there")))
    assert (await model(url).chat(ASKED)).text == "there"
    assert len(asked) == 11


async def test_a_server_that_goes_on_saying_so_is_named_and_not_waited_for_again(serve, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._PAUSE_S", 0.01)
    url, asked = serve((429, {"error": {"message": "busy"}}))
    small = model(url, timeout=0.1)
    with pytest.raises(ModelError, match=r"small failed with status 429: .*busy"):
        await small.chat(ASKED)
    asked.clear()
    with pytest.raises(ModelError, match="429"):
        await small.chat(ASKED)
    assert len(asked) == 1


async def test_a_server_that_stays_broken_is_named(serve):
    url, _ = serve((500, {"error": {"message": "out of\nmemory"}}))
    with pytest.raises(ModelError, match=rf"{url}: small failed with status 500: .*out of memory"):
        await model(url).chat(ASKED)


async def test_a_hanging_server_is_given_up_on(serve, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 1)
    url, _ = serve(lambda _: time.sleep(3) or (200, completion("late")))
    with pytest.raises(ModelError, match=rf"{url}: no reply from small within 0.2 s, tried 2 times"):
        await model(url, timeout=0.2).chat(ASKED)


@pytest.mark.parametrize(
    "nonsense", [b"<html>hello</html>", b"{not json", b"[]", b'{"choices": null}', b'{"choices": [{}]}', b'"x"']
)
async def test_nonsense_is_no_chat_completion(serve, nonsense):
    url, _ = serve((200, nonsense))
    with pytest.raises(ModelError, match="what came back is no chat completion") as caught:
        await model(url).chat(ASKED)
    assert "\n" not in str(caught.value)


async def test_a_server_that_is_down_says_how_to_start_it(monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 0)
    down = model("http://127.0.0.1:9/v1", start_with="espresso serve models --profile paper")
    with pytest.raises(
        ServerDownError, match=r"http://127\.0\.0\.1:9/v1: no server answers .* `espresso serve models --profile paper`"
    ):
        await down.chat(ASKED)


async def test_an_unknown_model_gets_the_servers_list(serve):
    url, _ = serve((404, {"error": {"message": "The model does not exist"}}))
    with pytest.raises(ModelError, match=r"no model is called 'small' there \(it serves: small\)"):
        await model(url).chat(ASKED)


async def test_an_adapter_is_a_model_name(serve):
    url, asked = serve((200, completion("x")))
    adapted = model(url, adapters={"evidence": "small-evidence"})
    await adapted.chat(ASKED, adapter="evidence")
    assert asked[0]["model"] == "small-evidence"
    with pytest.raises(ModelError, match=r"no adapter is called 'answer' \(known: evidence\)"):
        await adapted.chat(ASKED, adapter="answer")


async def test_a_schema_is_asked_for_and_validated(serve):
    url, asked = serve((200, completion('{"frames": [1, 3]}')), (200, completion("frames one and three")))
    small = model(url)
    assert (await small.chat(ASKED, schema=Frames)).parsed == Frames(frames=[1, 3])
    sent = asked[0]["response_format"]["json_schema"]["schema"]
    assert (sent["additionalProperties"], sent["required"]) == (False, ["frames", "order"])
    reply = await small.chat(ASKED, schema=Frames)
    assert (reply.parsed, reply.text) == (None, "frames one and three")


async def test_choices_are_weighed_by_the_first_token(serve):
    url, asked = serve((200, completion("B", [("B", -0.2, {"B": -0.2, "A": -2.0, "The": -3.0})])))
    reply = await model(url).chat(ASKED, choices=["A", "B", "C"])
    assert asked[0]["structured_outputs"] == {"choice": ["A", "B", "C"]}
    expected = np.exp([-2.0, -0.2, -3.0]) / np.exp([-2.0, -0.2, -3.0]).sum()
    assert np.allclose(np.exp(list(reply.logprobs.values())), expected)
    assert (reply.text, reply.confidence) == ("B", pytest.approx(expected[1]))


async def test_choices_that_begin_alike_part_at_their_token(serve):
    tokens = [("red", -0.5, {"red": -0.5, "blue": -1.0}), (" ball", -0.1, {" ball": -0.1, " cup": -2.5})]
    url, _ = serve((200, completion("red ball", tokens)))
    reply = await model(url).chat(ASKED, choices=["red ball", "red cup", "blue ball"])
    weights = np.exp([-0.6, -3.0, -1.0])
    assert np.allclose(np.exp(list(reply.logprobs.values())), weights / weights.sum())


def weighing(*logprobs):
    """Answer as vLLM does that is asked for its prompt's log-probabilities. logprobs: of ("it",) "is" and each choice's words."""
    known = {}

    def answer(request):
        *_, asked, said = request["messages"]
        assert (request["prompt_logprobs"], request["add_generation_prompt"]) == (0, False)
        assert (asked["role"], said["role"]) == ("user", "assistant")
        words = ["it", "is", *said["content"].split(), "<end>", "\n"]
        values = [-0.5, -0.5, *logprobs[0][said["content"]], -9.0]
        row = [None] + [
            {str(known.setdefault(word, len(known))): {"logprob": value, "rank": 1, "decoded_token": word}}
            for word, value in zip(words, values, strict=True)
        ]
        return 200, completion("x") | {"prompt_logprobs": row}

    return answer


async def test_long_choices_are_weighed_as_whole_replies(serve):
    likely = {"a red ball": [-0.1, -0.7, -0.2, -0.1], "a red": [-0.1, -0.7, -3.0], "a cup": [-0.1, -1.5, -0.3]}
    url, asked = serve(weighing(likely))
    reply = await model(url).chat(ASKED, choices=list(likely))
    weights = np.exp([-1.0, -3.7, -1.8])
    assert np.allclose(np.exp(list(reply.logprobs.values())), weights / weights.sum())
    assert (reply.text, reply.tokens_out, len(asked)) == ("a red ball", 3, 3)


async def test_of_choices_of_one_word_the_end_does_not_count(serve):
    url, _ = serve(weighing({"red": [-1.0, -0.1], "blue": [-0.9, -5.0]}))
    reply = await model(url).chat(ASKED, choices=["red", "blue"])
    assert reply.text == "blue"
    assert np.allclose(np.exp(reply.logprobs["red"]), 1 / (1 + np.exp(0.1)))


async def test_one_prompt_that_is_refused_does_not_change_how_the_next_is_weighed(serve):
    weighs, refused = weighing({"red": [-1.0, -0.1], "blue": [-0.9, -5.0]}), []

    def answer(request):
        if len(asked) in (3, 4):
            refused.append(request)
            return 400, {"error": {"message": "maximum context length"}}
        return weighs(request)

    url, asked = serve(answer)
    small = model(url)
    assert (await small.chat(ASKED, choices=["red", "blue"])).text == "blue"
    with pytest.raises(ModelError, match="maximum context length"):
        await small.chat(ASKED, choices=["red", "blue"])
    assert refused
    while len(asked) < 4:
        await asyncio.sleep(0.01)
    assert (await small.chat(ASKED, choices=["red", "blue"])).text == "blue"
    assert all("structured_outputs" not in request for request in asked)


async def test_a_server_that_tells_nothing_of_its_prompt_is_not_asked_for_it_again(serve):
    url, asked = serve((200, completion("blue", [("blue", -0.2, {"blue": -0.2, "red": -2.0})])))
    small = model(url)
    for _ in range(2):
        assert (await small.chat(ASKED, choices=["red", "blue"])).text == "blue"
    assert [request.get("prompt_logprobs") for request in asked] == [0, 0, None, None]


async def test_a_server_without_structured_outputs_gets_an_enum_from_then_on(serve):
    enum = completion('{"choice": "B"}', [('{"choice": "', 0.0, {}), ("B", -0.1, {"B": -0.1, "A": -2.5}), ('"}', 0.0, {})])
    url, asked = serve((400, {"error": {"message": "Unknown parameter: 'structured_outputs'"}}), (200, enum))
    small = model(url)
    for _ in range(2):
        reply = await small.chat(ASKED, choices=["A", "B"])
        assert reply.text == "B"
        assert np.allclose(np.exp(list(reply.logprobs.values())), np.exp([-2.5, -0.1]) / np.exp([-2.5, -0.1]).sum())
    assert ["structured_outputs" in request for request in asked] == [True, False, False]
    assert asked[1]["response_format"]["json_schema"]["schema"]["properties"]["choice"]["enum"] == ["A", "B"]


async def test_a_server_that_ignores_structured_outputs_gets_an_enum_too(serve):
    url, _ = serve((200, completion("I think it is B.")), (200, completion('{"choice": "B"}')))
    reply = await model(url).chat(ASKED, choices=["A", "B"])
    assert (reply.text, reply.confidence, reply.logprobs) == ("B", None, {})


async def test_a_server_that_will_not_choose_is_named(serve):
    url, _ = serve((200, completion("I think it is B.")))
    with pytest.raises(ModelError, match=r"small replied 'I think it is B.' where it had to choose one of"):
        await model(url).chat(ASKED, choices=["A", "B"])


async def test_what_the_server_refuses_is_passed_on(serve):
    url, _ = serve((400, {"error": {"message": "This model's maximum context length is 10 tokens"}}))
    with pytest.raises(ModelError, match=r"small refuses the request: .*maximum context length is 10"):
        await model(url).chat(ASKED, choices=["A", "B"])


async def test_many_go_at_once_but_not_more_than_allowed(serve):
    under_way, most, lock = [], [], threading.Lock()

    def answer(request):
        with lock:
            under_way.append(1)
            most.append(len(under_way))
        time.sleep(0.05)
        with lock:
            under_way.pop()
        return 200, completion(request["messages"][0]["content"])

    url, _ = serve(answer)
    replies = await model(url, concurrency=3).chat_many([[Message("user", (str(number),))] for number in range(9)])
    assert [reply.text for reply in replies] == [str(number) for number in range(9)]
    assert max(most) == 3


def test_a_model_outlives_an_event_loop(serve):
    url, _ = serve((200, completion("x")))
    small = model(url)
    assert asyncio.run(small.chat(ASKED)) == asyncio.run(small.chat(ASKED))


def test_tokens_are_estimated_from_above():
    small = model("http://localhost/v1")
    counted = small.count_tokens([Message("user", (FLAT, "How many tokens has 12.5?", FLAT))])
    assert counted.visual == 140
    assert counted.total >= 140 + 10
    assert small.count_tokens([Message("user", ("一二三",))]).total >= 3
