"""Models in this process: batches, threads, memory, and errors of one line."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import in_child
from pydantic import BaseModel
from safetensors.torch import load_file

from espresso import profiles
from espresso.errors import ModelError
from espresso.models import Message, Picture, TransformersModel, transformers_model


def ask(*content):
    return [Message("user", content)]


async def test_a_text_model_chats_scores_and_writes_json(text_model):
    class Pick(BaseModel):
        frames: list[int]

    reply = await text_model.chat(ask("Hello"), max_tokens=8)
    assert 1 <= reply.tokens_out <= 8
    choice = await text_model.chat(ask("Hello"), choices=["A", "B"])
    assert np.isclose(sum(np.exp(list(choice.logprobs.values()))), 1)
    written = await text_model.chat(ask("Hello"), schema=Pick, max_tokens=40)
    assert json.loads(written.text) == written.parsed.model_dump()
    assert written.text == written.parsed.model_dump_json()


async def test_a_reply_that_is_cut_off_says_so(text_model):
    reply = await text_model.chat(ask("Hello"), max_tokens=2)
    assert reply.tokens_out == 2
    assert "was cut off at 2 tokens" in reply.fault or "thoughts were cut off at 2 tokens" in reply.fault


async def test_json_that_is_closed_in_time_has_no_fault(text_model):
    class Pick(BaseModel):
        frames: list[int]

    assert (await text_model.chat(ask("Hello"), schema=Pick, max_tokens=40)).fault is None


async def test_a_reply_may_be_longer_than_requested(text_model):
    longer = TransformersModel(text_model._folder, extra_tokens=30)
    assert longer.context_length == text_model.context_length - 30
    reply = await longer.chat(ask("Hello"), max_tokens=2)
    assert reply.tokens_out > 2
    longer.close()


async def test_thoughts_are_no_part_of_the_reply(text_model, monkeypatch):
    engine = text_model._engine()
    written = ["<think>A?</think>The ball.", "A?</think> The ball.", "<think>A?", "<think>A?</think>", ""]
    monkeypatch.setattr(engine.processor.tokenizer, "batch_decode", lambda *_, **__: [written.pop(0)])
    monkeypatch.setattr(engine, "eos_ids", list(range(engine.vocab_size)))  # each reply ends at once
    replies = [await text_model.chat(ask("Hello"), max_tokens=4) for _ in range(5)]
    assert [reply.text for reply in replies] == ["The ball.", "The ball.", "", "", ""]
    thoughts = "the reply is thoughts without an answer"
    assert [reply.fault for reply in replies] == [None, None, thoughts, thoughts, "the reply is empty"]


async def test_a_text_model_rejects_pictures(text_model, picture):
    with pytest.raises(ModelError, match="this text model cannot take pictures"):
        await text_model.chat(ask(picture))


async def test_a_reply_reports_the_size_of_its_prompt(family, conversations):
    for messages in conversations:
        counted = family.count_tokens(messages)
        reply = await family.chat(messages, max_tokens=1)
        assert (reply.tokens_in, reply.tokens_visual) == (counted.total, counted.visual)


async def test_a_prompt_that_exceeds_the_context_is_rejected(qwen2_vl, picture):
    with pytest.raises(ModelError, match=r"exceed its context of 2048\. Use fewer frames or a shorter text"):
        await qwen2_vl.chat(ask(picture, "word " * 1000))


async def test_an_unknown_adapter_is_named(text_model):
    with pytest.raises(ModelError, match=r"unknown adapter 'weak' \(loaded: strong\)"):
        await text_model.chat(ask("Hello"), adapter="weak")


async def test_a_bad_request_does_not_fail_others(text_model):
    good, bad = await asyncio.gather(
        text_model.chat(ask("Hello"), max_tokens=4), text_model.chat(ask("x" * 3000), max_tokens=4), return_exceptions=True
    )
    assert good.tokens_out
    assert isinstance(bad, ModelError)


async def test_concurrent_chats_share_a_batch(text_model, monkeypatch):
    engine, sizes = text_model._engine(), []
    generate = engine.generate
    monkeypatch.setattr(engine, "generate", lambda prompts, *args: sizes.append(len(prompts)) or generate(prompts, *args))
    asked = threading.Event()
    text_model._worker.submit(asked.wait)  # the model is busy while they ask
    chats = [asyncio.create_task(text_model.chat(ask(f"Question {number}"), max_tokens=2)) for number in range(6)]
    await asyncio.sleep(0)
    asked.set()
    await asyncio.gather(*chats)
    assert sizes == [6]


async def test_batches_are_limited_by_tokens_and_keep_the_order(text_model, monkeypatch):
    engine, batches = text_model._engine(), []
    generate = engine.generate
    monkeypatch.setattr(engine, "generate", lambda prompts, *args: batches.append(prompts) or generate(prompts, *args))
    monkeypatch.setattr(transformers_model, "BATCH_TOKENS", 200)
    conversations = [ask("word " * count) for count in (1, 30, 2, 25, 3)]
    reported = []
    replies = await text_model.chat_many(
        conversations, on_reply=lambda position, reply: reported.append((position, reply)), max_tokens=4
    )
    assert [position for position, _ in reported] == [1, 3, 4, 2, 0]  # as they are made: the longest first
    assert dict(reported) == dict(enumerate(replies))
    assert [reply.tokens_in for reply in replies] == [text_model.count_tokens(messages).total for messages in conversations]
    assert len(batches) > 1
    for batch in batches:
        longest = max(len(engine.processor.encode(prompt)) for prompt in batch)
        assert len(batch) == 1 or len(batch) * (longest + 4) <= 200


async def test_tokens_can_be_counted_while_the_model_works(qwen2_vl):
    conversations = [ask(Picture(np.zeros((28 * (1 + number % 3), 28, 3), np.uint8)), "word " * number) for number in range(40)]
    expected = [qwen2_vl.count_tokens(messages) for messages in conversations]
    work = asyncio.create_task(qwen2_vl.chat_many(conversations, max_tokens=2))
    counts = []
    while not work.done():
        counts.append([await asyncio.to_thread(qwen2_vl.count_tokens, messages) for messages in conversations])
    assert all(count == expected for count in counts)
    assert [reply.tokens_in for reply in await work] == [count.total for count in expected]


async def test_a_cancelled_request_is_not_worked_on(text_model, monkeypatch):
    served, reply = [], text_model._reply
    monkeypatch.setattr(text_model, "_reply", lambda prompts, *rest: served.extend(prompts) or reply(prompts, *rest))
    first = asyncio.create_task(text_model.chat(ask("first"), max_tokens=30))
    cancelled = asyncio.create_task(text_model.chat(ask("cancelled"), max_tokens=2))
    await asyncio.sleep(0)
    cancelled.cancel()
    await first
    await text_model.chat(ask("last"), max_tokens=2)
    assert ["cancelled" in prompt for prompt in served] == [False, False]


def test_a_model_can_be_used_in_one_event_loop_after_another(text_model):
    first = asyncio.run(text_model.chat(ask("Hello"), max_tokens=4))
    assert asyncio.run(text_model.chat(ask("Hello"), max_tokens=4)) == first


def test_threads_with_their_own_event_loops_share_a_model(text_model):
    expected = asyncio.run(text_model.chat_many([ask(f"Question {number}") for number in range(6)], max_tokens=4))
    replies = {}

    def work(number):
        replies[number] = asyncio.run(text_model.chat(ask(f"Question {number}"), max_tokens=4))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [replies[number].text for number in range(6)] == [reply.text for reply in expected]


def worker_threads(model):
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"model {model.name}")]


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    return condition()


async def test_closing_a_model_frees_its_weights_and_its_thread_but_not_those_of_others(text_model, tmp_path):
    (tmp_path / "copy").symlink_to(text_model._folder)
    closed, other = (TransformersModel(tmp_path / "copy", adapters={"strong": text_model._folder / "strong"}) for _ in range(2))
    await asyncio.gather(*(model.chat(ask("Hello"), choices=["A", "B"]) for model in (closed, other)))
    weights, engine = weakref.ref(closed._engine().model.get_input_embeddings().weight), weakref.ref(closed._engine())
    assert len(worker_threads(closed)) == 2
    closed.close()
    assert wait_for(lambda: engine() is None and weights() is None)
    assert wait_for(lambda: len(worker_threads(closed)) == 1)
    assert (await other.chat(ask("Hello"), choices=["A", "B"])).text in "AB"
    with pytest.raises(ModelError, match="this model is closed"):
        await closed.chat(ask("Hello"))
    with pytest.raises(ModelError, match="this model is closed"):
        closed.count_tokens(ask("Hello"))
    other.close()


async def test_a_model_that_nothing_refers_to_frees_its_thread(text_model):
    model = TransformersModel(text_model._folder)
    await model.chat(ask("Hello"), choices=["A", "B"])
    before, engine = len(worker_threads(text_model)), weakref.ref(model._engine())
    del model
    assert wait_for(lambda: engine() is None and len(worker_threads(text_model)) == before - 1)


async def test_requests_that_wait_when_a_model_is_closed_fail(text_model):
    model = TransformersModel(text_model._folder)
    started, proceed = threading.Event(), threading.Event()
    engine = model._engine()
    generate = engine.generate

    def slow(*args):
        started.set()
        proceed.wait(10)
        return generate(*args)

    engine.generate = slow
    running = asyncio.create_task(model.chat(ask("first"), max_tokens=2))
    await asyncio.to_thread(started.wait, 10)
    waiting = asyncio.create_task(model.chat(ask("second"), max_tokens=3))
    await asyncio.sleep(0)
    model.close()
    with pytest.raises(ModelError, match="closed before it replied"):
        await asyncio.wait_for(waiting, 10)
    proceed.set()
    assert (await asyncio.wait_for(running, 10)).tokens_out


async def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=rf"{tmp_path / 'gone'} has no config.json"):
        await TransformersModel(tmp_path / "gone").chat(ask("Hello"))


async def test_a_folder_with_missing_weights_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(ModelError, match=rf"{tmp_path}: cannot load this model") as caught:
        await TransformersModel(tmp_path).chat(ask("Hello"))
    assert "\n" not in str(caught.value)


async def test_a_missing_adapter_is_named(text_model, tmp_path):
    model = TransformersModel(text_model._folder, adapters={"evidence": tmp_path / "gone"})
    with pytest.raises(ModelError, match=r"adapter 'evidence': .*gone has no adapter_config\.json"):
        await model.chat(ask("Hello"))


async def test_a_hub_model_that_is_out_of_reach_is_named():
    with pytest.raises(ModelError, match=r"nobody/such-model-2B: this model \(4.3 GB to download\)"):
        await TransformersModel("nobody/such-model-2B", download="4.3 GB").chat(ask("Hello"))


def test_models_that_load_at_the_same_time_get_their_own_weights():
    folders = [Path(profiles.__file__).parent / "tiny" / name for name in ("vlm", "selector")]
    for _ in range(3):
        models = [TransformersModel(folder) for folder in folders]
        for model in models:
            model.preload()
        for model, folder in zip(models, folders, strict=True):
            loaded = model._engine().model.get_input_embeddings().weight
            saved = load_file(folder / "model.safetensors")
            (name,) = (name for name in saved if name.endswith("embed_tokens.weight"))
            assert torch.equal(loaded.float(), saved[name])
            model.close()


def test_the_name_depends_on_the_weights(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = TransformersModel(tmp_path).name
    assert TransformersModel(tmp_path).name == first
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert TransformersModel(tmp_path).name != first
    assert first.startswith(tmp_path.name)


def test_importing_the_package_loads_no_framework():
    check = "import sys, espresso.models; sys.exit(len({'torch', 'transformers', 'openai'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


async def test_the_garbage_collector_is_on_again_after_loading(text_model, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for model in (TransformersModel(text_model._folder), TransformersModel(tmp_path)):
        with suppress(ModelError):
            await model.chat(ask("Hello"), choices=["A", "B"])
        assert gc.isenabled()
    gc.disable()
    try:
        await TransformersModel(text_model._folder).chat(ask("Hello"), choices=["A", "B"])
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_forked_child_gets_the_same_reply_while_the_parent_is_in_the_middle_of_one(text_model):
    """The child has neither the worker thread nor the end of what it was doing."""
    model = TransformersModel(text_model._folder)
    expected = (await model.chat(ask("Hello"), max_tokens=4)).text
    started, proceed = threading.Event(), threading.Event()
    reply = model._reply

    def slow_reply(*args):
        started.set()
        proceed.wait()
        return reply(*args)

    model._reply = slow_reply
    pending = asyncio.ensure_future(model.chat(ask("Hello"), max_tokens=4))
    await asyncio.to_thread(started.wait)

    def ask_again():
        model._reply = reply
        return [asyncio.run(model.chat(ask("Hello"), max_tokens=4)).text for _ in range(2)]

    assert in_child(ask_again) == [expected, expected]
    proceed.set()
    assert (await pending).text == expected
    model.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_waits_until_no_model_loads():
    loading, proceed = threading.Event(), threading.Event()

    def load():
        with transformers_model.LOADING:
            loading.set()
            proceed.wait()

    thread = threading.Thread(target=load)
    thread.start()
    loading.wait()
    threading.Timer(0.2, proceed.set).start()
    assert in_child(lambda: [proceed.is_set(), transformers_model.LOADING.acquire(blocking=False)]) == [True, True]
    thread.join()
    assert transformers_model.LOADING.acquire(blocking=False)
    transformers_model.LOADING.release()


async def test_a_forked_child_that_cannot_use_the_gpu_says_so(text_model, monkeypatch):
    def engine(*_):
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, ...")

    monkeypatch.setattr("espresso.models.engine.Engine", engine)
    with pytest.raises(ModelError, match=r"a forked process cannot use the GPU.*spawn"):
        await TransformersModel(text_model._folder).chat(ask("Hello"))
