"""What a user meets around a local model: batches, threads, errors of one sentence."""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from pydantic import BaseModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from espresso import profiles
from espresso.errors import ModelError
from espresso.models import LocalModel, Message, Picture
from espresso.models import transformers_model as local_module


def says(*content):
    return [Message("user", content)]


async def test_a_text_model_chats_scores_and_writes_json(text_model):
    class Pick(BaseModel):
        frames: list[int]

    reply = await text_model.chat(says("Hello"), max_tokens=8)
    assert 1 <= reply.tokens_out <= 8
    choice = await text_model.chat(says("Hello"), choices=["A", "B"])
    assert np.isclose(sum(np.exp(list(choice.logprobs.values()))), 1)
    written = await text_model.chat(says("Hello"), schema=Pick, max_tokens=40)
    assert json.loads(written.text) == written.parsed.model_dump()
    assert written.text == written.parsed.model_dump_json()


async def test_a_text_model_refuses_pictures(text_model):
    with pytest.raises(ModelError, match="reads text only"):
        await text_model.chat(says(Picture(np.zeros((4, 4, 3), np.uint8))))


async def test_a_bad_request_spoils_only_itself(text_model):
    good, bad = await asyncio.gather(
        text_model.chat(says("Hello"), max_tokens=4), text_model.chat(says("x" * 3000), max_tokens=4), return_exceptions=True
    )
    assert good.tokens_out
    assert isinstance(bad, ModelError)


async def test_concurrent_chats_share_a_batch(text_model, monkeypatch):
    engine, sizes = text_model._engine(), []
    generate = engine.generate
    monkeypatch.setattr(
        engine, "generate", lambda prompts, *args, **wish: sizes.append(len(prompts)) or generate(prompts, *args, **wish)
    )
    await asyncio.gather(*(text_model.chat(says(f"Question {number}"), max_tokens=2) for number in range(6)))
    assert sum(sizes) == 6
    assert max(sizes) >= 5


async def test_batches_are_bounded_by_tokens_and_keep_the_order(text_model, monkeypatch):
    monkeypatch.setattr(local_module, "BATCH_TOKENS", 200)
    asked = [says("word " * count) for count in (1, 30, 2, 25, 3)]
    replies = await text_model.chat_many(asked, max_tokens=4)
    assert [reply.tokens_in for reply in replies] == [text_model.count_tokens(messages).total for messages in asked]


async def test_tokens_can_be_counted_while_the_model_is_at_work(qwen2_vl):
    asked = [says(Picture(np.zeros((28 * (1 + number % 3), 28, 3), np.uint8)), "word " * number) for number in range(40)]
    alone = [qwen2_vl.count_tokens(messages) for messages in asked]
    work = asyncio.create_task(qwen2_vl.chat_many(asked, max_tokens=2))
    counts = []
    while not work.done():
        counts.append([await asyncio.to_thread(qwen2_vl.count_tokens, messages) for messages in asked])
    assert all(count == alone for count in counts)
    assert [reply.tokens_in for reply in await work] == [count.total for count in alone]


async def test_a_request_given_up_is_not_worked_on(text_model, monkeypatch):
    served, reply = [], text_model._reply
    monkeypatch.setattr(text_model, "_reply", lambda prompts, *rest: served.extend(prompts) or reply(prompts, *rest))
    first = asyncio.create_task(text_model.chat(says("first"), max_tokens=30))
    given_up = asyncio.create_task(text_model.chat(says("given up"), max_tokens=2))
    await asyncio.sleep(0)
    given_up.cancel()
    await first
    await text_model.chat(says("last"), max_tokens=2)
    assert ["given up" in prompt for prompt in served] == [False, False]


def test_a_model_outlives_an_event_loop(text_model):
    first = asyncio.run(text_model.chat(says("Hello"), max_tokens=4))
    assert asyncio.run(text_model.chat(says("Hello"), max_tokens=4)) == first


async def test_an_impossible_picture_is_an_error_of_one_sentence(qwen2_vl):
    with pytest.raises(ModelError, match="a picture of 900x1 pixels does not suit the model"):
        await qwen2_vl.chat(says(Picture(np.zeros((1, 900, 3), np.uint8)), "What?"), max_tokens=2)


async def test_small_pictures_are_not_enlarged(qwen2_vl):
    reader = qwen2_vl._engine().reader
    small = says(Picture(np.zeros((56, 56, 3), np.uint8)))
    assert reader.prepare([reader.render(small)], [small])["image_grid_thw"].tolist() == [[1, 4, 4]]


async def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=rf"{tmp_path / 'gone'}: no model there"):
        await LocalModel(tmp_path / "gone").chat(says("Hello"))


async def test_a_folder_with_broken_weights_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(ModelError, match=rf"{tmp_path}: this model cannot be loaded") as caught:
        await LocalModel(tmp_path).chat(says("Hello"))
    assert "\n" not in str(caught.value)


async def test_an_adapter_of_another_model_is_told_in_a_sentence(text_model, tmp_path):
    torch.manual_seed(0)
    wider = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(text_model._folder, hidden_size=128))
    get_peft_model(wider, LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path / "other")
    model = LocalModel(text_model._folder, adapters={"evidence": tmp_path / "other"})
    with pytest.raises(ModelError, match=r"the adapter .*other was made for another model") as caught:
        await model.chat(says("Hi"), adapter="evidence")
    assert "\n" not in str(caught.value)


async def test_an_adapter_folder_that_is_not_there_is_named(text_model, tmp_path):
    model = LocalModel(text_model._folder, adapters={"evidence": tmp_path / "gone"})
    with pytest.raises(ModelError, match="no adapter there for 'evidence'"):
        await model.chat(says("Hello"))


async def test_a_hub_model_out_of_reach_names_itself_and_its_size():
    model = LocalModel("nobody/such-model-2B", download="4.3 GB")
    with pytest.raises(ModelError, match=r"nobody/such-model-2B: this model \(4.3 GB to download\) .* `hf download nobody"):
        await model.chat(says("Hello"))


def test_models_that_load_at_the_same_time_have_their_own_weights():
    folders = [Path(profiles.__file__).parent / "tiny" / name for name in ("vlm", "selector")]
    for _ in range(3):
        models = [LocalModel(folder) for folder in folders]
        for model in models:
            model.preload()
        for model, folder in zip(models, folders, strict=True):
            held = model._engine().model.get_input_embeddings().weight
            saved = load_file(folder / "model.safetensors")
            (name,) = (name for name in saved if name.endswith("embed_tokens.weight"))
            assert torch.equal(held.float(), saved[name])


def test_the_name_follows_the_weights(text_model, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = LocalModel(tmp_path).name
    assert LocalModel(tmp_path).name == first
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert LocalModel(tmp_path).name != first
    assert first.startswith(tmp_path.name)


def test_importing_the_package_loads_no_framework():
    import subprocess

    check = "import sys, espresso.models; sys.exit(len({'torch', 'transformers', 'openai'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
