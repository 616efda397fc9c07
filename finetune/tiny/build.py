"""Build tokenizers and untrained models for the tiny models, in Qwen's architectures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from espresso import world
from finetune.tiny import judgements, statements, writing
from finetune.tiny.config import TinyConfig

VISION_ROLES = ("vlm", "captioner")
"""Roles with a vision model; the others are text models."""
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
CHAT_TEMPLATE = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'text' -%}{{ part.text }}{%- else -%}<|vision_start|><|image_pad|><|vision_end|>{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{ '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)


@cache
def corpus() -> tuple[str, ...]:
    """Return texts of the train split, as the models read and write them, to train a tokenizer."""
    return tuple(_texts())


def _texts() -> Iterator[str]:
    for index in range(3000):
        story = world.story("train", index)
        yield from (f"{i}.{i}s: {beat.fact}." for i, beat in enumerate(story.beats))
        for motif in story.motifs:
            yield f"Q: {motif.text}\n" + "".join(f"{'ABCD'[i]}: {option}\n" for i, option in enumerate(motif.options))
            yield motif.answer
        yield 'nothing happens\nuser\nassistant\nsystem\ncaption\nanswer\n{"frames":[1,2]}'


def build_tokenizer(config: TinyConfig) -> Qwen2Tokenizer:
    """Train a byte-level BPE tokenizer with Qwen's pre-tokenization.

    It encodes any text; most of the world's words are one token. Judge and writers read and
    write other words too, and have vocabularies of their own.
    """
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    own = {"judge": judgements.corpus, "writer": writing.corpus, "statements": statements.corpus}.get(config.role)
    trained.train_from_iterator(chain(corpus(), own() if own else ()), trainer)
    bpe = json.loads(trained.to_str())["model"]
    merges: Any = [tuple(merge) for merge in bpe["merges"]]
    tokens = Qwen2Tokenizer(vocab=bpe["vocab"], merges=merges, eos_token="<|im_end|>")
    tokens.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    tokens.chat_template = CHAT_TEMPLATE
    return tokens


def build_processor(config: TinyConfig) -> Qwen2VLProcessor:
    """Build a processor that resizes frames to the area of a square of `image_size` pixels."""
    pixels = config.image_size**2
    images = Qwen2VLImageProcessor(patch_size=14, merge_size=2, size={"shortest_edge": pixels, "longest_edge": pixels})
    return Qwen2VLProcessor(images, build_tokenizer(config), Qwen2VLVideoProcessor(), chat_template=CHAT_TEMPLATE)


def build_model(config: TinyConfig, tokens: Qwen2Tokenizer) -> PreTrainedModel:
    """Build the model of the configuration's role with random weights."""
    text: dict[str, Any] = {
        "vocab_size": len(tokens),
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "intermediate_size": config.feed_forward,
        "max_position_embeddings": config.context,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokens.convert_tokens_to_ids("<|im_end|>"),
        "pad_token_id": tokens.convert_tokens_to_ids("<|endoftext|>"),
    }
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    if config.role not in VISION_ROLES:
        return _mimetic_init(Qwen2ForCausalLM(Qwen2Config(**text, rope_parameters=rope)))
    half = config.hidden // config.heads // 2
    # Time, height and width share the rotary half dimensions; Qwen2-VL divides 64 of them as
    # 16:24:24.
    height_width = (half - half // 4) // 2
    sections = [half - 2 * height_width, height_width, height_width]
    special_ids: dict[str, Any] = {
        f"{name}_token_id": tokens.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in (
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        )
    }
    vision = {
        "depth": config.vision_depth,
        "embed_dim": config.vision_width,
        "hidden_size": config.hidden,
        "num_heads": config.vision_heads,
        "mlp_ratio": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
    }
    text["rope_parameters"] = {**rope, "mrope_section": sections}
    model_config = Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **special_ids)
    return _mimetic_init(Qwen2VLForConditionalGeneration(model_config))


def load_start_weights(model: PreTrainedModel, tokens: Qwen2Tokenizer, start: Path) -> None:
    """Copy the weights of a trained model of the same architecture into a new model.

    Args:
        model: the new model; tokens that the trained model does not know keep their embeddings,
            rescaled.
        tokens: tokenizer of the new model.
        start: folder of the trained model and its tokenizer.
    """
    trained: Any = type(model).from_pretrained(start)
    vocabulary, weights = Qwen2Tokenizer.from_pretrained(start).get_vocab(), trained.state_dict()
    shared = [(index, vocabulary[token]) for token, index in tokens.get_vocab().items() if token in vocabulary]
    new_ids, trained_ids = zip(*shared, strict=True)
    embeddings = cast(torch.nn.Embedding, model.get_input_embeddings()).weight.detach()
    embeddings *= trained.get_input_embeddings().weight.std() / embeddings.std()
    embeddings[list(new_ids)] = trained.get_input_embeddings().weight.detach()[list(trained_ids)]
    model.load_state_dict({name: embeddings if len(weight) == len(vocabulary) else weight for name, weight in weights.items()})


def _mimetic_init(model: PreTrainedModel) -> PreTrainedModel:
    """Initialize keys equal to queries: attention heads start by attending to similar tokens.

    Trockman and Kolter, Mimetic Initialization of Self-Attention Layers, 2023, with weights large
    enough for an effect. The first thing the text models have to learn is to find a name or a time
    again (docs/LOG.md).
    """
    decoder = model.get_decoder()
    with torch.no_grad():
        for weights in decoder.parameters():
            if weights.ndim == 2:
                weights.normal_(std=decoder.config.hidden_size**-0.5)
        for layer in decoder.layers:
            attention = layer.self_attn
            keys = attention.k_proj.weight.view(-1, attention.head_dim, attention.k_proj.in_features)
            keys = keys.repeat_interleave(attention.num_key_value_groups, dim=0)
            attention.q_proj.weight.copy_(keys.reshape_as(attention.q_proj.weight))
    return model
