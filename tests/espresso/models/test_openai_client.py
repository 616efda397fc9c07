"""The OpenAI backend against a real HTTP server that replies, fails, hangs or sends nonsense."""

import asyncio
import math
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest
from pydantic import BaseModel

from espresso.errors import ModelError, ServerDownError
from espresso.models import Message, OpenAIModel, Picture
from tests.http_server import JsonHandler, http_server

FLAT = Picture(np.full((32, 32, 3), 200, np.uint8))
MESSAGES = [Message("system", ("Be brief.",)), Message("user", ("at 1.5 s:", FLAT, "What is this?"))]


class Frames(BaseModel):
    frames: list[int]


def completion(text, tokens=(), **more):
    """Build a reply of the API from (text, logprob, {alternative: logprob})."""
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


class ModelsHandler(JsonHandler):
    def do_GET(self):
        self.reply(200, {"object": "list", "data": [{"id": "small", "object": "model", "created": 0, "owned_by": "me"}]})


@pytest.fixture
def serve():
    """Start a server with replies in turn: (status, body), or a function of the request."""
    with ExitStack() as servers:

        def start(*answers):
            def next_answer(request):
                answer = answers[min(len(server.asked), len(answers)) - 1]
                return answer(request) if callable(answer) else answer

            server = servers.enter_context(http_server(ModelsHandler, next_answer))
            return server.url, server.asked

        yield start


def model(url, **more):
    return OpenAIModel("small", base_url=url, **{"context_length": 1000, "picture_tokens": 70, "timeout": 5.0} | more)


async def test_a_request_carries_the_conversation_and_its_options(serve):
    url, requests = serve((200, completion(" A grey square.\n", [("A", -0.1, {}), (" grey", -0.3, {})])))
    reply = await model(url).chat(MESSAGES, max_tokens=9, temperature=0.5, seed=4)
    assert reply.text == "A grey square."
    assert reply.confidence == pytest.approx(math.exp(-0.2))
    assert (reply.tokens_in, reply.tokens_out, reply.tokens_visual) == (30, 3, 30)
    (request,) = requests
    assert (request["model"], request["max_completion_tokens"], request["temperature"], request["seed"]) == ("small", 9, 0.5, 4)
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert [part["type"] for part in request["messages"][1]["content"]] == ["text", "image_url", "text"]


async def test_busy_and_failing_servers_are_retried(serve):
    url, requests = serve(
        (429, {"error": {"message": "busy"}}), (500, {"error": {"message": "oops"}}), (200, completion("there"))
    )
    assert (await model(url).chat(MESSAGES)).text == "there"
    assert len(requests) == 3


async def test_requests_pause_while_the_rate_limit_is_reached(serve, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._PAUSE_S", 0.01)
    url, requests = serve(*[(429, {"error": {"message": "busy"}})] * 10, (200, completion("there")))
    assert (await model(url).chat(MESSAGES)).text == "there"
    assert len(requests) == 11


async def test_a_lasting_rate_limit_is_an_error_and_not_waited_for_again(serve, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._PAUSE_S", 0.01)
    url, requests = serve((429, {"error": {"message": "busy"}}))
    small = model(url, timeout=0.1)
    with pytest.raises(ModelError, match=r"small failed with status 429: .*busy"):
        await small.chat(MESSAGES)
    requests.clear()
    with pytest.raises(ModelError, match="429"):
        await small.chat(MESSAGES)
    assert len(requests) == 1


async def test_a_server_that_keeps_failing_is_an_error(serve):
    url, _ = serve((500, {"error": {"message": "out of\nmemory"}}))
    with pytest.raises(ModelError, match=rf"{url}: small failed with status 500: .*out of memory"):
        await model(url).chat(MESSAGES)


async def test_a_hanging_server_times_out(serve, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 1)
    url, _ = serve(lambda _: time.sleep(3) or (200, completion("late")))
    with pytest.raises(ModelError, match=rf"{url}: no reply from small within 0.2 s, tried 2 times"):
        await model(url, timeout=0.2).chat(MESSAGES)


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"{not json", b"[]", b'{"choices": null}', b'{"choices": [{}]}', b'"x"'])
async def test_an_invalid_reply_is_an_error_of_one_line(serve, body):
    url, _ = serve((200, body))
    with pytest.raises(ModelError, match="the reply is not a chat completion") as caught:
        await model(url).chat(MESSAGES)
    assert "\n" not in str(caught.value)


async def test_the_error_of_a_server_that_is_down_says_how_to_start_it(monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 0)
    down = model("http://127.0.0.1:9/v1", start_command="espresso serve models --profile paper")
    message = r"http://127\.0\.0\.1:9/v1: could not connect .* `espresso serve models --profile paper`"
    with pytest.raises(ServerDownError, match=message):
        await down.chat(MESSAGES)


async def test_the_error_for_an_unknown_model_lists_the_models(serve):
    url, _ = serve((404, {"error": {"message": "The model does not exist"}}))
    with pytest.raises(ModelError, match=r"no model is called 'small' there \(it serves: small\)"):
        await model(url).chat(MESSAGES)


async def test_an_adapter_is_requested_as_a_model(serve):
    url, requests = serve((200, completion("x")))
    adapted = model(url, adapters={"evidence": "small-evidence"})
    await adapted.chat(MESSAGES, adapter="evidence")
    assert requests[0]["model"] == "small-evidence"
    with pytest.raises(ModelError, match=r"unknown adapter 'answer' \(known: evidence\)"):
        await adapted.chat(MESSAGES, adapter="answer")


async def test_a_schema_is_sent_and_the_reply_validated(serve):
    url, requests = serve((200, completion('{"frames": [1, 3]}')), (200, completion("frames one and three")))
    small = model(url)
    assert (await small.chat(MESSAGES, schema=Frames)).parsed == Frames(frames=[1, 3])
    assert requests[0]["response_format"]["json_schema"]["schema"]["required"] == ["frames"]
    reply = await small.chat(MESSAGES, schema=Frames)
    assert (reply.parsed, reply.text) == (None, "frames one and three")


async def test_letters_are_chosen_by_structured_outputs(serve):
    url, requests = serve((200, completion("B", [("B", -0.2, {"B": -0.2, "A": -2.0, "The": -3.0})])))
    reply = await model(url).chat(MESSAGES, choices=["A", "B", "C"])
    assert requests[0]["structured_outputs"] == {"choice": ["A", "B", "C"]}
    expected = np.exp([-2.0, -0.2, -3.0]) / np.exp([-2.0, -0.2, -3.0]).sum()
    assert np.allclose(np.exp(list(reply.logprobs.values())), expected)
    assert (reply.text, reply.confidence) == ("B", pytest.approx(expected[1]))


def scoring(logprobs):
    """Reply as vLLM does to a request for `prompt_logprobs`.

    logprobs: choice -> log-probabilities of its words and of its end.
    """
    ids = {}

    def answer(request):
        *_, user, assistant = request["messages"]
        assert (request["prompt_logprobs"], request["add_generation_prompt"]) == (0, False)
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        words = ["it", "is", *assistant["content"].split(), "<end>", "\n"]
        values = [-0.5, -0.5, *logprobs[assistant["content"]], -9.0]
        tokens = [None] + [
            {str(ids.setdefault(word, len(ids))): {"logprob": value, "rank": 1, "decoded_token": word}}
            for word, value in zip(words, values, strict=True)
        ]
        return 200, completion("x") | {"prompt_logprobs": tokens}

    return answer


async def test_long_choices_are_scored_as_whole_replies(serve):
    logprobs = {"a red ball": [-0.1, -0.7, -0.2, -0.1], "a red": [-0.1, -0.7, -3.0], "a cup": [-0.1, -1.5, -0.3]}
    url, requests = serve(scoring(logprobs))
    reply = await model(url).chat(MESSAGES, choices=list(logprobs))
    weights = np.exp([-1.0, -3.7, -1.8])
    assert np.allclose(np.exp(list(reply.logprobs.values())), weights / weights.sum())
    assert (reply.text, reply.tokens_out, len(requests)) == ("a red ball", 3, 3)


async def test_a_rejected_prompt_does_not_change_how_later_choices_are_scored(serve):
    score, rejected = scoring({"red": [-1.0, -0.1], "blue": [-0.9, -5.0]}), []

    def answer(request):
        if len(requests) in (3, 4):
            rejected.append(request)
            return 400, {"error": {"message": "maximum context length"}}
        return score(request)

    url, requests = serve(answer)
    small = model(url)
    assert (await small.chat(MESSAGES, choices=["red", "blue"])).text == "blue"
    with pytest.raises(ModelError, match="maximum context length"):
        await small.chat(MESSAGES, choices=["red", "blue"])
    assert rejected
    while len(requests) < 4:
        await asyncio.sleep(0.01)
    assert (await small.chat(MESSAGES, choices=["red", "blue"])).text == "blue"
    assert all("structured_outputs" not in request for request in requests)


async def test_a_server_without_prompt_logprobs_is_asked_for_them_only_once(serve):
    url, requests = serve((200, completion("blue", [("blue", -0.2, {"blue": -0.2, "red": -2.0})])))
    small = model(url)
    for _ in range(2):
        assert (await small.chat(MESSAGES, choices=["red", "blue"])).text == "blue"
    assert [request.get("prompt_logprobs") for request in requests] == [0, 0, None, None]


async def test_a_server_without_structured_outputs_gets_an_enum_from_then_on(serve):
    enum = completion('{"choice": "B"}', [('{"choice": "', 0.0, {}), ("B", -0.1, {"B": -0.1, "A": -2.5}), ('"}', 0.0, {})])
    url, requests = serve((400, {"error": {"message": "Unknown parameter: 'structured_outputs'"}}), (200, enum))
    small = model(url)
    for _ in range(2):
        reply = await small.chat(MESSAGES, choices=["A", "B"])
        assert reply.text == "B"
        assert np.allclose(np.exp(list(reply.logprobs.values())), np.exp([-2.5, -0.1]) / np.exp([-2.5, -0.1]).sum())
    assert ["structured_outputs" in request for request in requests] == [True, False, False]
    assert requests[1]["response_format"]["json_schema"]["schema"]["properties"]["choice"]["enum"] == ["A", "B"]


async def test_a_server_that_ignores_structured_outputs_gets_an_enum_too(serve):
    url, _ = serve((200, completion("I think it is B.")), (200, completion('{"choice": "B"}')))
    reply = await model(url).chat(MESSAGES, choices=["A", "B"])
    assert (reply.text, reply.confidence, reply.logprobs) == ("B", None, {})


async def test_a_server_that_cannot_be_constrained_is_an_error(serve):
    url, _ = serve((200, completion("I think it is B.")))
    with pytest.raises(ModelError, match=r"small replied 'I think it is B.' instead of one of"):
        await model(url).chat(MESSAGES, choices=["A", "B"])


async def test_the_servers_reason_for_a_rejection_is_shown(serve):
    url, _ = serve((400, {"error": {"message": "This model's maximum context length is 10 tokens"}}))
    with pytest.raises(ModelError, match=r"small rejects the request: .*maximum context length is 10"):
        await model(url).chat(MESSAGES, choices=["A", "B"])


async def test_at_most_concurrency_requests_are_in_flight(serve):
    in_flight, counts, lock = [], [], threading.Lock()

    def answer(request):
        with lock:
            in_flight.append(1)
            counts.append(len(in_flight))
        time.sleep(0.05)
        with lock:
            in_flight.pop()
        return 200, completion(request["messages"][0]["content"])

    url, _ = serve(answer)
    replies = await model(url, concurrency=3).chat_many([[Message("user", (str(number),))] for number in range(9)])
    assert [reply.text for reply in replies] == [str(number) for number in range(9)]
    assert max(counts) == 3


def test_a_model_can_be_used_in_one_event_loop_after_another(serve):
    url, _ = serve((200, completion("x")))
    small = model(url)
    assert asyncio.run(small.chat(MESSAGES)) == asyncio.run(small.chat(MESSAGES))
    assert len(small._connections) == 1  # the connection of the closed loop is gone


def test_threads_with_their_own_event_loops_share_a_model(serve):
    """Each thread has requests in flight while the others connect and disconnect."""
    together = threading.Barrier(3)
    url, requests = serve(lambda request: time.sleep(0.02) or (200, completion(request["messages"][0]["content"])))
    small, replies = model(url, concurrency=2), {}

    def work(name):
        async def ask():
            for number in range(2):
                together.wait(10)
                messages = [[Message("user", (f"{name} {number} {each}",))] for each in range(4)]
                replies[name, number] = [reply.text for reply in await small.chat_many(messages)]
                await small.disconnect()

        asyncio.run(ask())

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert replies == {(n, i): [f"{n} {i} {each}" for each in range(4)] for n in "abc" for i in range(2)}
    assert len(requests) == 24
    assert small._connections == {}


async def test_a_request_after_disconnect_connects_again(serve):
    url, _ = serve((200, completion("x")))
    small = model(url)
    await small.chat(MESSAGES)
    await small.disconnect()
    assert (await small.chat(MESSAGES)).text == "x"


async def test_a_closed_model_is_an_error_and_leaves_others_open(serve):
    url, _ = serve((200, completion("x")))
    closed, other = model(url), model(url)
    await asyncio.gather(closed.chat(MESSAGES), other.chat(MESSAGES))
    closed.close()
    with pytest.raises(ModelError, match="small: this model is closed"):
        await closed.chat(MESSAGES)
    assert (await other.chat(MESSAGES)).text == "x"


def test_tokens_are_not_underestimated():
    small = model("http://localhost/v1")
    counted = small.count_tokens([Message("user", (FLAT, "How many tokens has 12.5?", FLAT))])
    assert counted.visual == 140
    assert counted.total >= 140 + 10
    assert small.count_tokens([Message("user", ("一二三",))]).total >= 3
