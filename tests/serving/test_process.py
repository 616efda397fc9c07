"""A started server: OpenAI's client, many requests at once, and stopping."""

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import openai
import psutil
import pytest
from api_server import Running, running

from agents.ask import ask
from agents.session import Session
from espresso.schema import Answer
from serving.settings import KEYS_VARIABLE

KEY = "sk-very-secret"
MANY = 200


@pytest.fixture(scope="module")
def server(tmp_path_factory, folder):
    limits = ("--max-mb", 4, "--waiting", 256, "--timeout", 3000)
    with running(tmp_path_factory.mktemp("server"), "--allow-media", folder, *limits, **{KEYS_VARIABLE: KEY}) as server:
        yield server


@pytest.fixture
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0, timeout=3000)


def messages(visual, text):
    return [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": visual}}, {"type": "text", "text": text}]}]


def data_url(path):
    return f"data:video/mp4;base64,{base64.b64encode(Path(path).read_bytes()).decode()}"


@pytest.fixture(scope="module")
def serial(questions, tmp_path_factory):
    """The answers of `ask`, one at a time: (text, choice, evidence, times of core frames)."""
    with Session("tiny", cache=tmp_path_factory.mktemp("serial")) as session:
        return [content(ask(each.visuals[0], each.text, options=each.options, session=session)) for each in questions]


def content(answer):
    return answer.text, answer.choice, answer.evidence.text, [core.time for core in answer.core_frames]


def test_the_openai_client_asks_with_options_and_gets_evidence_and_core_frames(client, questions, serial):
    question = questions[0]
    reply = client.chat.completions.create(
        model="tiny",
        messages=messages(f"file://{question.visuals[0]}", question.text),
        extra_body={"espresso": {"options": question.options}},
    )
    answer = Answer.model_validate(reply.espresso["answer"])
    assert content(answer) == serial[0]
    assert reply.choices[0].message.content == answer.text
    assert answer.core_frames
    assert reply.usage.prompt_tokens == answer.usage.tokens_in > 0
    assert reply.usage.total_tokens == answer.usage.tokens_in + answer.usage.tokens_out


def test_the_server_listens_on_this_machine_only(server):
    listening = [each for each in psutil.Process(server.process.pid).net_connections("tcp") if each.status == "LISTEN"]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}


def test_lettered_options_in_the_text_are_answered_with_a_letter(client, questions, serial):
    question = questions[1]
    lines = [f"{letter}. {option}" for letter, option in zip("ABCD", question.options, strict=True)]
    text = "\n".join([question.text, *lines, "Answer with the option's letter from the given choices directly."])
    reply = client.chat.completions.create(model="tiny", messages=messages(data_url(question.visuals[0]), text), max_tokens=16)
    assert reply.choices[0].message.content == serial[1][1]


def test_an_upload_is_asked_about_with_another_strategy(client, questions):
    with open(questions[2].visuals[0], "rb") as file:
        upload = client.files.create(file=file, purpose="user_data")
    part = {"type": "file", "file": {"file_id": upload.id}}
    turn = [{"role": "user", "content": [part, {"type": "text", "text": questions[2].text}]}]
    reply = client.chat.completions.create(model="tiny/uniform", messages=turn, extra_body={"espresso": {"frames": 3}})
    answer = reply.espresso["answer"]
    assert (answer["strategy"], len(answer["core_frames"])) == ("uniform", 3)
    client.files.delete(upload.id)
    with pytest.raises(openai.NotFoundError, match="no such file"):
        client.chat.completions.create(model="tiny", messages=turn)


def test_a_stream_has_progress_by_node_then_the_answer_then_the_usage(client, questions):
    stream = client.chat.completions.create(
        model="tiny",
        messages=messages(questions[0].visuals[0], questions[0].text),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    progress = [
        chunk.espresso["progress"]["node"] for chunk in chunks if (getattr(chunk, "espresso", None) or {}).get("progress")
    ]
    assert progress == ["sample", "caption", "select", "evidence", "sufficient", "answer"]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert text == chunks[-2].espresso["answer"]["text"]
    assert chunks[-1].usage.total_tokens > 0


def test_an_error_in_a_stream_is_an_error_of_the_client(client, tmp_path):
    picture = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    with pytest.raises(openai.APIError, match="only understands clips"):
        list(client.chat.completions.create(model="tiny", messages=messages(picture, "What?"), stream=True))


def test_a_schema_is_followed(client, questions, serial):
    schema = {
        "type": "object",
        "properties": {"evidence": {"type": "string"}, "answer": {"type": "string", "enum": list(questions[0].options)}},
        "required": ["evidence", "answer"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    turn = messages(questions[0].visuals[0], questions[0].text)
    reply = json.loads(
        client.chat.completions.create(model="tiny", messages=turn, response_format=form).choices[0].message.content
    )
    assert reply == {"evidence": serial[0][2], "answer": serial[0][0]}


def test_our_own_records_are_asked_and_judged(server, questions, serial):
    question, headers = questions[0], {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=3000) as http:
        body = {"model": "tiny", "visuals": question.visuals, "text": question.text, "options": question.options}
        assert content(Answer.model_validate(http.post("/v1/ask", json=body).json())) == serial[0]
        given = Answer.model_validate(http.post("/v1/ask", json=body | {"core_frames": [2.0], "boxes": True}).json())
        assert [core.time for core in given.core_frames] == [2.0]
        assert {item.frame.time for item in given.evidence.key_items} == {2.0}
        body = {"model": "tiny", "question": question.text, "reference": question.answer, "answer": question.answer}
        assert http.post("/v1/judge", json=body).json()["verdict"]["overall"] >= 5
        metrics = http.get("/metrics").text
        assert 'espresso_node_seconds_count{node="caption"}' in metrics


async def test_many_requests_at_once_are_all_answered_as_one_at_a_time(server, questions, serial):
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    urls = [data_url(question.visuals[0]) for question in questions]
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0, timeout=3000) as client:

        async def one(number):
            question = questions[number % len(questions)]
            reply = await client.chat.completions.create(
                model="tiny",
                messages=messages(urls[number % len(questions)], question.text),
                extra_body={"espresso": {"options": question.options}},
            )
            return content(Answer.model_validate(reply.espresso["answer"]))

        answers = await asyncio.gather(*map(one, range(MANY)))
    assert [answer == serial[number % len(questions)] for number, answer in enumerate(answers)] == [True] * MANY
    assert process.memory_info().rss - before < 1024**3


async def test_hostile_uploads_do_not_stop_the_server(server, questions):
    noise = os.urandom(100_000)
    clip = Path(questions[0].visuals[0]).read_bytes()
    files = [
        b"",
        noise,
        clip[:-500],
        clip[:5000] + noise,
        b"\x89PNG\r\n\x1a\n" + noise,
        b"GIF89a" + noise,
        b"\xff\xd8\xff\xe0" + noise,
    ]
    async with httpx.AsyncClient(base_url=server.url, headers={"authorization": f"Bearer {KEY}"}, timeout=3000) as http:
        replies = await asyncio.gather(*(http.post("/v1/files", files={"file": ("x.mp4", each)}) for each in files * 3))
        assert {reply.status_code for reply in replies} <= {200, 400}
        large = await http.post("/v1/files", files={"file": ("x.mp4", bytes(5 * 1024**2))})
        assert "more than the limit of 4.0 MB" in large.json()["error"]["message"]
        assert (await http.get("/ready")).status_code == 200


def test_clients_that_send_half_a_request_or_leave_do_no_harm(server):
    host, port = server.url.removeprefix("http://").split(":")
    head = f"POST /v1/ask HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
    for sent in (
        head[:30],
        f"{head}content-length: 100\r\n\r\n{{",
        "\x00\xff" * 100,
        f"{head}transfer-encoding: chunked\r\n\r\nzz\r\n",
    ):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(sent.encode("latin-1"))
    deadline = time.monotonic() + 120
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {KEY}"}, timeout=300) as http:
        while "espresso_requests_in_progress 0.0" not in http.get("/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_the_log_of_the_server_has_no_key(server):
    headers = {"authorization": f"Bearer {KEY}", "api-key": KEY}
    body = {"model": "tiny", "visuals": [f"https://user:{KEY}@media.example/a.mp4?token={KEY}"], "text": "What?"}
    httpx.post(f"{server.url}/v1/ask?api_key={KEY}", headers=headers, json=body, timeout=300)
    httpx.get(f"{server.url}/v1/models?api_key={KEY}", timeout=300)
    log = server.log.read_text()
    assert "POST /v1/ask 400" in log
    assert KEY not in log


@pytest.fixture(scope="module")
def small(tmp_path_factory, folder):
    """A server with one place and a queue of two, started as a background job that ignores SIGINT."""
    options = ("--allow-media", folder, "--at-once", 1, "--waiting", 2, "--timeout", 3000, "--no-cache")
    ignoring = (
        sys.executable,
        "-c",
        "import os, signal, sys; signal.signal(2, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])",
    )
    server = Running(tmp_path_factory.mktemp("small"), *options, shell=ignoring)
    yield server
    server.kill()


def ask_body(question):
    return {"model": "tiny", "visuals": question.visuals[:1], "text": question.text, "options": question.options}


async def test_overflow_gets_429_and_the_client_that_comes_again_gets_its_answer(small, questions, serial):
    async with httpx.AsyncClient(base_url=small.url, timeout=3000) as http:
        replies = await asyncio.gather(*(http.post("/v1/ask", json=ask_body(questions[0])) for _ in range(8)))
        refused = [reply for reply in replies if reply.status_code == 429]
        assert refused
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
        assert refused[0].json()["error"]["type"] == "rate_limit_error"
        answers = [content(Answer.model_validate(reply.json())) for reply in replies if reply.status_code == 200]
        assert len(answers) + len(refused) == 8
        assert answers == [serial[0]] * len(answers)
    async with openai.AsyncOpenAI(base_url=f"{small.url}/v1", api_key="none", max_retries=50, timeout=3000) as client:
        turn = messages(questions[0].visuals[0], questions[0].text)
        replies = await asyncio.gather(*(client.chat.completions.create(model="tiny", messages=turn) for _ in range(5)))
        assert len({reply.choices[0].message.content for reply in replies}) == 1


async def test_the_question_of_a_client_that_leaves_is_cancelled(small, questions):
    async with httpx.AsyncClient(base_url=small.url) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/v1/ask", json=ask_body(questions[3]), timeout=httpx.Timeout(300, read=0.2))
        deadline = time.monotonic() + 120
        while 'espresso_requests_total{route="/v1/ask",status="disconnected"} 1.0' not in (metrics := await scrape(http)):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert "espresso_requests_in_progress 0.0" in metrics


async def scrape(http):
    return (await http.get("/metrics", timeout=300)).text


async def test_sigint_ends_a_background_job_after_the_requests_in_progress(small, questions, serial):
    """Also the request that waits gets a reply, and no process or folder stays."""
    children = psutil.Process(small.process.pid).children(recursive=True)
    async with httpx.AsyncClient(base_url=small.url, timeout=3000) as http:
        works = asyncio.create_task(http.post("/v1/ask", json=ask_body(questions[0])))
        waits = asyncio.create_task(http.post("/v1/ask", json=ask_body(questions[1])))
        while "espresso_requests_waiting 1.0" not in (await http.get("/metrics")).text:
            await asyncio.sleep(0.02)
        small.process.send_signal(signal.SIGINT)
        assert content(Answer.model_validate((await works).json())) == serial[0]
        assert (await waits).status_code == 503
    assert await asyncio.to_thread(small.process.wait, 300) == 0
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert small.log.read_text().rstrip().endswith("the server stopped")


def test_sigterm_ends_an_idle_server(server):
    """The last test of the module: it ends the server of all."""
    server.process.terminate()
    assert server.process.wait(300) == 0
    assert "Traceback" not in server.log.read_text()


def test_a_port_in_use_and_a_missing_folder_are_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as used:
        for arguments in (["--port", str(used.getsockname()[1])], ["--port", "0", "--allow-media", str(tmp_path / "none")]):
            command = [sys.executable, "-c", "from espresso.cli import app; app()", "serve", "api", *arguments]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            assert ended.returncode == 2
            assert len(ended.stderr.strip().splitlines()) == 1
