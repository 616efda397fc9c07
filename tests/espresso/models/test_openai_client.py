"""The OpenAI backend against a real HTTP server that replies, fails, hangs or sends nonsense."""

import asyncio
import json
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
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 0)
    url, requests = serve((429, {"error": {"message": "busy"}}))
    small = model(url, timeout=2)
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
    reported = {}
    replies = await model(url, concurrency=3).chat_many(
        [[Message("user", (str(number),))] for number in range(9)], on_reply=reported.__setitem__
    )
    assert [reported[number] for number in range(9)] == replies
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


async def test_thoughts_are_no_part_of_the_reply(serve):
    url, _ = serve((200, completion("<think>\nA or B?\n</think>\n\nThe ball.")))
    assert (await model(url).chat(MESSAGES)).text == "The ball."


async def test_thoughts_are_no_part_of_a_choice_or_of_json(serve):
    url, _ = serve(
        (200, completion("<think>A?</think>\n\nB")),
        (200, completion('<think>{"frames": [9]}</think>```json\n{"frames": [1]}\n```')),
    )
    small = model(url)
    assert (await small.chat(MESSAGES, choices=["A", "B"])).text == "B"
    assert (await small.chat(MESSAGES, schema=Frames)).parsed == Frames(frames=[1])


def ending(finish, content=None, **more):
    return 200, completion(content) | {"choices": [{"finish_reason": finish, "message": {"content": content, **more}}]}


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (ending("length", "The ba"), "the reply was cut off at 9 tokens"),
        (ending("length", reasoning_content="hm"), "its thoughts were cut off at 9 tokens"),
        (ending("stop", refusal="I can't."), 'it refused: "I can\'t."'),
        (ending("content_filter"), "the server's content filter stopped it"),
        (ending("stop"), "the reply is empty"),
        (
            (400, {"error": {"code": "content_filter", "message": "The prompt was filtered"}}),
            "filter stopped it: The prompt was filtered",
        ),
        (
            (400, {"error": {"message": "Could not finish the message because max_tokens or model output limit was reached"}}),
            "cut off at 9",
        ),
    ],
)
async def test_a_reply_that_cannot_be_used_says_why(serve, answer, fault):
    url, _ = serve(answer)
    assert fault in (await model(url).chat(MESSAGES, max_tokens=9)).fault


@pytest.mark.parametrize("choices", [["A", "B"], ["a red ball", "a cup"]])
async def test_a_choice_that_is_cut_off_or_refused_is_an_error_with_its_reason(serve, choices):
    for answer, fault in ((ending("length", "The ba"), "was cut off"), (ending("stop", refusal="No."), "it refused: 'No.'")):
        url, _ = serve(answer)
        with pytest.raises(ModelError, match=rf"small chose none of .*{fault}"):
            await model(url).chat(MESSAGES, choices=choices)


async def test_json_that_is_whole_was_not_cut_off(serve):
    url, _ = serve(ending("length", '{"frames": [1]} and'))
    reply = await model(url).chat(MESSAGES, schema=Frames)
    assert (reply.parsed, reply.fault) == (Frames(frames=[1]), None)


async def test_a_model_that_thinks_gets_more_tokens(serve):
    url, requests = serve((200, completion("The ball.")))
    small = model(url, extra_tokens=200, extra_body={"reasoning_effort": "low"})
    await small.chat(MESSAGES, max_tokens=9)
    assert (requests[0]["max_completion_tokens"], requests[0]["reasoning_effort"]) == (209, "low")
    assert small.context_length == 800


def rejecting(*names, temperature=None):
    """Reply as a service that does not accept some parameters, and names one at a time."""

    def answer(request):
        for name in names:
            if name in request:
                error = {"message": f"Unsupported parameter: '{name}' is not supported with this model.", "param": name}
                return 400, {"error": error}
        if temperature is not None and request.get("temperature") != temperature:
            return 400, {"error": {"message": f"'temperature': Only the default ({temperature}) value is supported."}}
        schema = request.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("properties", {})
        return 200, completion('{"choice": "B"}' if "choice" in schema else "B")

    return answer


async def test_parameters_that_a_server_rejects_are_left_out_from_then_on(serve):
    url, requests = serve(rejecting("logprobs", "top_logprobs", "seed", "max_completion_tokens", temperature=1))
    small = model(url)
    assert (await small.chat(MESSAGES, seed=3, max_tokens=9)).text == "B"
    assert len(requests) == 5
    requests.clear()
    assert (await small.chat(MESSAGES, seed=3, max_tokens=9)).text == "B"
    (request,) = requests
    assert request.keys() == {"model", "messages", "max_tokens", "temperature"}
    assert (request["max_tokens"], request["temperature"]) == (9, 1)


async def test_parameters_can_be_left_out_by_the_profile(serve):
    url, requests = serve((200, completion("B")))
    small = model(url, omit=["logprobs", "temperature", "max_completion_tokens", "structured_outputs", "prompt_logprobs"])
    await small.chat(MESSAGES)
    assert requests[0].keys() == {"model", "messages", "max_tokens"}


async def test_a_server_without_constraints_is_asked_for_json_in_words(serve):
    url, requests = serve(rejecting("logprobs", "structured_outputs", "prompt_logprobs", "response_format"))
    small = model(url)
    assert (await small.chat(MESSAGES, choices=["A", "B"])).text == "B"
    assert 'Reply with JSON of this schema and nothing else: {"type": "object"' in str(requests[-1]["messages"])


async def test_an_error_that_only_mentions_a_parameter_changes_nothing(serve):
    url, requests = serve(
        (400, {"error": {"message": "temperature is not supported for this prompt"}}),
        (400, {"error": {"message": "This model's maximum context length is 10 tokens"}}),
        (200, completion("x")),
    )
    small = model(url)
    with pytest.raises(ModelError, match="maximum context length"):
        await small.chat(MESSAGES)
    await small.chat(MESSAGES)
    assert ["temperature" in request for request in requests] == [True, False, True]


async def test_a_first_prompt_that_is_rejected_does_not_change_how_later_choices_are_scored(serve):
    score = scoring({"red": [-1.0, -0.1], "blue": [-0.9, -5.0]})
    url, requests = serve(lambda request: (400, {"error": {"message": "maximum context length"}}) if rejects else score(request))
    small, rejects = model(url), True
    with pytest.raises(ModelError, match="maximum context length"):
        await small.chat(MESSAGES, choices=["red", "blue"])
    await asyncio.sleep(0.05)
    rejects = False
    assert (await small.chat(MESSAGES, choices=["red", "blue"])).text == "blue"
    assert requests[-1]["prompt_logprobs"] == 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            (502, b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"),
            "status 502: 502 Bad Gateway: nginx",
        ),
        ((503, b""), "status 503: Service Unavailable, with an empty body"),
        ((422, {"detail": [{"loc": ["body", "n"], "msg": "too many"}]}), "rejects the request: body.n: too many"),
        ((500, b"CUDA out of memory"), "status 500: CUDA out of memory"),
        ((200, {"error": {"message": "Insufficient balance", "code": 402}}), r"small failed: Insufficient balance \(code 402\)"),
        ((200, {"choices": [{"error": {"message": "Upstream died"}, "finish_reason": "error"}]}), "small failed: Upstream died"),
        ((200, {"object": "error", "message": "no pictures"}), "small failed: no pictures"),
        ((200, {"detail": "not loaded"}), "small failed: not loaded"),
        ((401, {"error": {"message": "key expired"}}), "rejects the API key for small: key expired. Set"),
        ((403, {"error": "Only for members"}), "status 403: Only for members"),
        ((404, {"detail": "Not Found"}), r"no chat completions API at this address \(status 404: Not Found\)"),
        ((404, {"error": "model 'small' not found, try pulling it"}), "no model is called .*try pulling it"),
        ((404, {"error": {"message": "No endpoints found that take pictures"}}), "status 404: No endpoints found"),
        ((405, {"detail": "Method Not Allowed"}), "no chat completions API at this address"),
        ((200, b"<html><title>Welcome</title></html>"), "is not a chat completion .*Welcome"),
    ],
)
async def test_errors_keep_the_servers_own_words(serve, monkeypatch, answer, words):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 0)
    url, _ = serve(answer)
    with pytest.raises(ModelError, match=words) as caught:
        await model(url).chat(MESSAGES)
    assert "\n" not in str(caught.value)


async def test_an_address_without_its_path_is_told_where_the_api_usually_is(serve):
    url, _ = serve((404, {"detail": "Not Found"}))
    with pytest.raises(ModelError, match=rf"path is missing or wrong; most servers have the API at {url}\."):
        await model(url.removesuffix("/v1")).chat(MESSAGES)


async def test_an_api_key_that_the_server_repeats_is_not_printed(serve):
    url, _ = serve((401, {"error": {"message": "Incorrect API key provided: sk-secret"}}))
    with pytest.raises(ModelError, match=r"provided: \*\*\*") as caught:
        await model(url, api_key="sk-secret").chat(MESSAGES)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "key", "fault"),
    [
        ("localhost:8000/v1", None, "small: the address 'localhost:8000/v1' has no scheme"),
        ("http://localhost:99999/v1", None, "impossible port '99999'"),
        ("http://localhost/v1/chat/completions", None, "ends in '/chat/completions'"),
        ("http://localhost/v1", "sk-x\n", "contains a line break"),
        ("http://localhost/v1", "sk-ü", "contains the non-ASCII character U\\+00FC"),
    ],
)
def test_an_impossible_address_or_key_is_named_before_any_request(url, key, fault):
    with pytest.raises(ModelError, match=fault):
        model(url, api_key=key)


async def test_an_address_that_redirects_is_told_the_other_one(serve):
    class Redirects(JsonHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(301)
            self.send_header("location", "/other/v1/chat/completions")
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self):  # clients turn POST into GET here
            self.reply(405, {"detail": "Method Not Allowed"})

    with http_server(Redirects) as server, pytest.raises(ModelError, match=r"it redirects to .*/other/v1/chat/completions"):
        await model(server.url).chat(MESSAGES)


async def test_text_that_is_no_unicode_is_an_error_of_one_line(serve):
    url, _ = serve((200, completion("x")))
    with pytest.raises(ModelError, match="the request to small cannot be sent"):
        await model(url).chat([Message("user", ("what is \udcff?",))])


async def test_a_reply_may_start_with_a_byte_order_mark(serve):
    url, _ = serve((200, b"\xef\xbb\xbf" + json.dumps(completion("x")).encode()))
    assert (await model(url).chat(MESSAGES)).text == "x"


@pytest.mark.parametrize("body", [{"choices": [], "usage": None}, {"id": "1", "choices": None}, {"usage": {}, "choices": [None]}])
async def test_a_reply_without_a_message_says_so_and_does_not_blame_the_address(serve, body):
    url, _ = serve((200, body))
    with pytest.raises(ModelError, match=r"not a chat completion, it has no message") as caught:
        await model(url).chat(MESSAGES)
    assert "base_url" not in str(caught.value)
