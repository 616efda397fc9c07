"""The tiny models before training: a tokenizer made of the world's own words, and random weights in Qwen's architectures."""

from __future__ import annotations

import json
from collections.abc import Iterator
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

from espresso.world import story
from finetune.tiny import judgements
from finetune.tiny.config import TinyConfig

SEE = ("vlm", "captioner")
"""Roles whose models look at pictures; the others read text alone."""
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
CHAT_TEMPLATE = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'text' -%}{{ part.text }}{%- else -%}<|vision_start|><|image_pad|><|vision_end|>{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{ '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)


def words() -> Iterator[str]:
    """Text as the models will read and write it, from the train split."""
    for index in range(3000):
        told = story("train", index)
        yield from (f"{i}.{i}s: {beat.fact}." for i, beat in enumerate(told.beats))
        for motif in told.motifs:
            yield f"Q: {motif.text}\n" + "".join(f"{'ABCD'[i]}: {option}\n" for i, option in enumerate(motif.options))
            yield motif.answer
        yield 'nothing happens\nuser\nassistant\nsystem\ncaption\nanswer\n{"frames":[1,2]}'


def tokenizer(config: TinyConfig) -> Qwen2Tokenizer:
    """Byte-level BPE with Qwen's pre-tokenization: any text can be written, the world's words are mostly one token each.

    The judge reads and writes words that are not the world's, and has a vocabulary of its own.
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
        vocab_size=config.vocabulary - len(SPECIALS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    trained.train_from_iterator(chain(words(), judgements.words() if config.role == "judge" else ()), trainer)
    made = json.loads(trained.to_str())["model"]
    merges: Any = [tuple(merge) for merge in made["merges"]]
    tokens = Qwen2Tokenizer(vocab=made["vocab"], merges=merges, eos_token="<|im_end|>")
    tokens.add_special_tokens({"additional_special_tokens": list(SPECIALS)})
    tokens.chat_template = CHAT_TEMPLATE
    return tokens


def processor(config: TinyConfig) -> Qwen2VLProcessor:
    """Pictures of any size become `image_size` squares' worth of 14-pixel patches, two by two a token."""
    pixels = config.image_size**2
    images = Qwen2VLImageProcessor(patch_size=14, merge_size=2, size={"shortest_edge": pixels, "longest_edge": pixels})
    return Qwen2VLProcessor(images, tokenizer(config), Qwen2VLVideoProcessor(), chat_template=CHAT_TEMPLATE)


def build(config: TinyConfig, tokens: Qwen2Tokenizer) -> PreTrainedModel:
    """A model with random weights for the config's role."""
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
    if config.role not in SEE:
        return _mimetic(Qwen2ForCausalLM(Qwen2Config(**text, rope_parameters=rope)))
    half = config.hidden // config.heads // 2
    rows = half // 4  # time, height and width share the rotary half dimensions, as 16:24:24 of 64 in Qwen2-VL
    sections = [half - 2 * ((half - rows) // 2), (half - rows) // 2, (half - rows) // 2]
    special: dict[str, Any] = {
        f"{name}_token_id": tokens.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in (("image", "image_pad"), ("video", "video_pad"), *zip(_VISION, _VISION, strict=True))
    }
    seeing = {
        "depth": config.vision_depth,
        "embed_dim": config.vision_width,
        "hidden_size": config.hidden,
        "num_heads": config.vision_heads,
        "mlp_ratio": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
    }
    reading = {**text, "rope_parameters": {**rope, "mrope_section": sections}}
    settings = Qwen2VLConfig(text_config=reading, vision_config=seeing, tie_word_embeddings=True, **special)
    return _mimetic(Qwen2VLForConditionalGeneration(settings))


def inherit(model: PreTrainedModel, tokens: Qwen2Tokenizer, start: Path) -> None:
    """Give a model the weights of a finished one of its sizes; tokens that only one of the two knows stay as they are."""
    other: Any = type(model).from_pretrained(start)
    known, weights = Qwen2Tokenizer.from_pretrained(start).get_vocab(), other.state_dict()
    mine, theirs = zip(*((place, known[token]) for token, place in tokens.get_vocab().items() if token in known), strict=True)
    embeddings = cast(torch.nn.Embedding, model.get_input_embeddings()).weight.detach()
    embeddings *= other.get_input_embeddings().weight.std() / embeddings.std()
    embeddings[list(mine)] = other.get_input_embeddings().weight.detach()[list(theirs)]
    model.load_state_dict({name: embeddings if len(weight) == len(known) else weight for name, weight in weights.items()})


_VISION = ("vision_start", "vision_end")


def _mimetic(model: PreTrainedModel) -> PreTrainedModel:
    """Let every head begin by attending to tokens like its own: keys equal queries.

    Trockman and Kolter, Mimetic Initialization of Self-Attention Layers, 2023; with weights wide enough for that to show. What a
    text model of ours has to learn first is to find a name or a time again (docs/LOG.md).
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
