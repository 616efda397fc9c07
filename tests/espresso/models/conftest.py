"""Tiny models of the supported families, built from configs with random weights."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch
from tokenizers import AddedToken

from espresso.models import Message, Picture, TransformersModel

WIDTH = 32
SPECIALS = {
    "qwen": ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"],
    "internvl": ["<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"],
    "llava": ["<|im_start|>", "<|im_end|>", "<image>", "<video>"],
    "smolvlm": ["<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>", "<video>"],
}


def chat_template(picture, *, end="<|im_end|>\n", role="<|im_start|>{{ m.role }}\n", ask="<|im_start|>assistant\n"):
    return (
        "{% for m in messages %}" + role + "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
        "{% if part.type == 'image' %}" + picture + "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
        + end + "{% endfor %}{% if add_generation_prompt %}" + ask + "{% endif %}"
    )  # fmt: skip


TEMPLATES = {
    "qwen": chat_template("<|vision_start|><|image_pad|><|vision_end|>"),
    "internvl": chat_template("<IMG_CONTEXT>\n"),
    # As published: moves the pictures of a turn before its text.
    "llava": (
        "{% for m in messages %}<|im_start|>{{ m.role }} {% for part in m.content if part.type == 'image' %}<image>\n{% endfor %}"
        "{% for part in m.content if part.type == 'text' %}{{ part.text }}{% endfor %}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    # As published: a space follows the colon of the generation prompt.
    "smolvlm": chat_template("<image>", end="<end_of_utterance>\n", role="{{ m.role | capitalize }}: ", ask="Assistant:"),
}


def make_tokenizer(kind):
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    vocab = {symbol: index for index, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    named = {
        "internvl": {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        }
    }
    end = "<end_of_utterance>" if kind == "smolvlm" else "<|im_end|>"
    tokenizer = Qwen2Tokenizer(
        vocab=vocab, merges=[], eos_token=end, pad_token="<|endoftext|>", extra_special_tokens=named.get(kind, {})
    )
    tokenizer.add_tokens([AddedToken(token, special=True) for token in SPECIALS[kind]])
    return tokenizer


def text_sizes(tokenizer, **more):
    return {
        "vocab_size": len(tokenizer) + 3,  # embeddings are often padded beyond the tokenizer
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    } | more


def token_ids(tokenizer, **tokens):
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}


def qwen_ids(tokenizer):
    return token_ids(
        tokenizer,
        image_token_id="<|image_pad|>",
        video_token_id="<|video_pad|>",
        vision_start_token_id="<|vision_start|>",
        vision_end_token_id="<|vision_end|>",
    )


MROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}


def build_qwen2_vl():
    import transformers as t

    tokenizer = make_tokenizer("qwen")
    config = t.Qwen2VLConfig(
        text_config=text_sizes(tokenizer, rope_parameters=MROPE),
        vision_config={"depth": 2, "embed_dim": WIDTH, "hidden_size": WIDTH, "num_heads": 2, "mlp_ratio": 2},
        **qwen_ids(tokenizer),
    )
    images = t.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=112 * 112)
    processor = t.Qwen2VLProcessor(images, tokenizer, t.Qwen2VLVideoProcessor(), chat_template=TEMPLATES["qwen"])
    return t.Qwen2VLForConditionalGeneration(config), processor


def build_qwen2_5_vl():
    import transformers as t

    tokenizer = make_tokenizer("qwen")
    config = t.Qwen2_5_VLConfig(
        text_config=text_sizes(tokenizer, rope_parameters=MROPE),
        vision_config={
            "depth": 2,
            "hidden_size": WIDTH,
            "out_hidden_size": WIDTH,
            "intermediate_size": 48,
            "num_heads": 2,
            "fullatt_block_indexes": [1],
        },
        **qwen_ids(tokenizer),
    )
    images = t.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=112 * 112)
    processor = t.Qwen2_5_VLProcessor(images, tokenizer, t.Qwen2VLVideoProcessor(), chat_template=TEMPLATES["qwen"])
    return t.Qwen2_5_VLForConditionalGeneration(config), processor


def build_qwen3_vl():
    import transformers as t

    tokenizer = make_tokenizer("qwen")
    rope = MROPE | {"mrope_interleaved": True}
    config = t.Qwen3VLConfig(
        text_config=text_sizes(tokenizer, rope_parameters=rope, head_dim=8),
        vision_config={
            "depth": 2,
            "hidden_size": WIDTH,
            "out_hidden_size": WIDTH,
            "intermediate_size": 48,
            "num_heads": 2,
            "num_position_embeddings": 49,
            "deepstack_visual_indexes": [0],
        },
        **qwen_ids(tokenizer),
    )
    images = t.Qwen2VLImageProcessor(min_pixels=32 * 32, max_pixels=128 * 128, patch_size=16)
    processor = t.Qwen3VLProcessor(images, tokenizer, t.Qwen3VLVideoProcessor(), chat_template=TEMPLATES["qwen"])
    return t.Qwen3VLForConditionalGeneration(config), processor


def build_internvl():
    import transformers as t

    tokenizer = make_tokenizer("internvl")
    config = t.InternVLConfig(
        text_config={"model_type": "qwen2"} | text_sizes(tokenizer),
        vision_config={
            "hidden_size": WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 48,
            "image_size": [56, 56],
            "patch_size": [14, 14],
        },
        image_seq_length=4,
        tie_word_embeddings=False,
        **token_ids(tokenizer, image_token_id="<IMG_CONTEXT>"),
    )
    images = t.GotOcr2ImageProcessor(size={"height": 56, "width": 56}, crop_to_patches=True)
    processor = t.InternVLProcessor(
        images, tokenizer, t.InternVLVideoProcessor(), image_seq_length=4, chat_template=TEMPLATES["internvl"]
    )
    return t.InternVLForConditionalGeneration(config), processor


def build_llava_onevision():
    import transformers as t

    tokenizer = make_tokenizer("llava")
    pinpoints = [[56, 56], [56, 112], [112, 56], [112, 112]]
    config = t.LlavaOnevisionConfig(
        text_config={"model_type": "qwen2"} | text_sizes(tokenizer),
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 48,
            "image_size": 56,
            "patch_size": 14,
            "vision_use_head": False,
        },
        image_grid_pinpoints=pinpoints,
        **token_ids(tokenizer, image_token_index="<image>", video_token_index="<video>"),
    )
    images = t.LlavaOnevisionImageProcessor(size={"height": 56, "width": 56}, image_grid_pinpoints=pinpoints)
    processor = t.LlavaOnevisionProcessor(
        images,
        tokenizer,
        t.LlavaOnevisionVideoProcessor(),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATES["llava"],
    )
    return t.LlavaOnevisionForConditionalGeneration(config), processor


def build_smolvlm():
    import transformers as t

    tokenizer = make_tokenizer("smolvlm")
    config = t.SmolVLMConfig(
        text_config={"model_type": "llama"} | text_sizes(tokenizer),
        vision_config={
            "hidden_size": WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 48,
            "image_size": 64,
            "patch_size": 16,
        },
        pad_token_id=tokenizer.pad_token_id,
        **token_ids(tokenizer, image_token_id="<image>"),
    )
    images = t.SmolVLMImageProcessor(size={"longest_edge": 256}, max_image_size={"longest_edge": 64})
    processor = t.SmolVLMProcessor(
        images, tokenizer, t.SmolVLMVideoProcessor(), image_seq_len=4, chat_template=TEMPLATES["smolvlm"]
    )
    return t.SmolVLMForConditionalGeneration(config), processor


def build_text():
    import transformers as t

    tokenizer = make_tokenizer("qwen")
    tokenizer.chat_template = TEMPLATES["qwen"]
    return t.Qwen3ForCausalLM(t.Qwen3Config(**text_sizes(tokenizer, head_dim=8))), tokenizer


FAMILIES = {
    "Qwen2-VL": build_qwen2_vl,
    "Qwen2.5-VL": build_qwen2_5_vl,
    "Qwen3-VL": build_qwen3_vl,
    "InternVL": build_internvl,
    "LLaVA-OneVision": build_llava_onevision,
    "SmolVLM": build_smolvlm,
}


def save(build, folder):
    """Save a model with a LoRA adapter; weights are scaled up for distinct probabilities."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    model, processor = build()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4)
    model.generation_config.eos_token_id = getattr(processor, "tokenizer", processor).eos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    adapted.save_pretrained(folder / "strong")
    return TransformersModel(folder, adapters={"strong": folder / "strong"})


@pytest.fixture(scope="session", params=FAMILIES)
def family(request, tmp_path_factory):
    """Each vision family as a TransformersModel with an adapter `strong`."""
    return save(FAMILIES[request.param], tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def text_model(tmp_path_factory):
    return save(build_text, tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="session")
def qwen2_vl(tmp_path_factory):
    return save(build_qwen2_vl, tmp_path_factory.mktemp("qwen2_vl"))


@pytest.fixture(scope="session")
def smolvlm(tmp_path_factory):
    return save(build_smolvlm, tmp_path_factory.mktemp("smolvlm"))


@pytest.fixture(scope="session")
def picture():
    """A small picture of noise."""
    return _noise(56, 56)


@pytest.fixture(scope="session")
def conversations(picture):
    """One picture; several with times; none in several turns; a wide one between texts."""
    wide = _noise(56, 84)
    return [
        [Message("user", (picture, "What is this?"))],
        [
            Message("system", ("Be brief.",)),
            Message("user", ("0.0 s", picture, "1.5 s", wide, "2.0 s", picture, "Who moves, and why?")),
        ],
        [Message("user", ("No picture here.",)), Message("assistant", ("So?",)), Message("user", ("Guess.",))],
        [Message("user", ("first", wide, "last"))],
    ]


def _noise(height, width):
    return Picture(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))
