"""Miniatures of public models: published settings with random weights, built offline.

`build` writes a folder that loads like the published model. Config, processor, chat template and
special tokens have the published values; the weights are random, in a few layers and in a slice of
the published width: one key head with its query heads. So tokens per picture, prompts, positions
and names of layers are those of the published model, and its replies are noise.

The published values come from:

- SmolVLM2-500M: its config.json, preprocessor_config.json, processor_config.json and added tokens.
- Qwen3-VL-2B, Qwen2.5-VL-7B and Qwen2.5-1.5B: their config.json, preprocessor_config.json and added
  tokens.
- InternVL3-1B: the defaults of InternVLConfig, which are those of OpenGVLab/InternVL3-1B-hf, and
  transformers' conversion script, which made its tokens, chat template and image processor. The
  language model is that of Qwen2.5-0.5B with an output matrix of its own.
- bge-small-en-v1.5 and bge-m3: their config.json and tokenizer_config.json.
- Chat templates: the copies in TRL, whose CI compares them with the hub. The template of InternVL3
  renders the same text as the one in the conversion script.

The text tokens are not the published ones: a byte-level BPE is trained on the project's prompts and
filled up to the published size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import prompts

TRAINED_TOKENS = 3000
"""Size of the byte-level BPE; the other text tokens are fillers that no text contains."""
WEIGHT_SCALE = 4.0
"""Factor of all matrices: with small initial weights, all tokens are equally probable."""
END_SCALE = 4.0
"""Factor of the output vector that ends the turn; with a smaller one, no reply would end."""


@dataclass(frozen=True)
class Miniature:
    """A public model in miniature."""

    hub_name: str

    config: Mapping[str, Any]
    """Published config.json, with fewer layers and heads."""

    tokenizer: Mapping[str, Any]
    """Published tokenizer_config.json."""

    special: Sequence[str]
    """Published added tokens, in the order of their ids, which follow the text tokens."""

    text_tokens: int
    """Published number of text tokens."""

    template: str
    """Chat template."""

    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further published files by name, such as preprocessor_config.json."""

    first_special: Sequence[str] = ()
    """Special tokens before the text tokens."""

    tied: bool = True
    """Whether input and output embeddings are one matrix in the published weights."""

    @property
    def name(self) -> str:
        """Name without the organization."""
        return self.hub_name.rpartition("/")[2]

    @property
    def vision(self) -> bool:
        """Whether it takes pictures."""
        return "vision_config" in self.config


def build(miniature: Miniature, folder: Path) -> Path:
    """Write the miniature of a chat model and return its folder, or reuse it if it is complete."""
    if (folder / "model.safetensors").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = _trained()
    known = {token: index for index, token in enumerate(miniature.first_special)}
    known |= {token: len(known) + index for index, token in enumerate(vocabulary)}
    fillers = _fillers(known)
    while len(known) < miniature.text_tokens:
        known[next(fillers)] = len(known)
    tokenizer = Tokenizer(models.BPE(vocab=known, merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    added = [AddedToken(token, special=token not in _PLAIN, normalized=False) for token in miniature.special]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in miniature.first_special])
    for token in added:
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(miniature.template, encoding="utf-8")
    files = {"config.json": miniature.config, "tokenizer_config.json": miniature.tokenizer, **miniature.files}
    _write(folder, files)
    _write_weights(miniature, folder)
    _write(folder, files)  # saving the model replaces its config
    return folder


def _write(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")


def _write_weights(miniature: Miniature, folder: Path) -> None:
    """Save random weights as the published ones are saved: bfloat16, names of the hub's files."""
    config = transformers.AutoConfig.from_pretrained(folder)
    config.tie_word_embeddings = miniature.tied
    config.get_text_config().tie_word_embeddings = miniature.tied
    auto = transformers.AutoModelForImageTextToText if miniature.vision else transformers.AutoModelForCausalLM
    torch.manual_seed(0)
    model = auto.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(WEIGHT_SCALE)
        end = miniature.files["generation_config.json"]["eos_token_id"]
        model.get_output_embeddings().weight[end if isinstance(end, int) else end[0]] *= END_SCALE
    model.to(torch.bfloat16).save_pretrained(folder)


@cache
def _trained() -> tuple[list[str], list[tuple[str, str]]]:
    """Train the BPE on the project's prompts; return its vocabulary and its merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=TRAINED_TOKENS, initial_alphabet=sorted(alphabet), show_progress=False)
    tokenizer.train_from_iterator(_texts(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), [tuple(pair) for pair in model["merges"]]


def _fillers(known: Mapping[str, int]) -> Iterator[str]:
    """Yield words of four letters that are no token yet."""
    words = ("Ġ" + "".join(letters) for letters in product(ascii_lowercase, repeat=4))
    return (word for word in words if word not in known)


def _trl(name: str) -> str:
    return (resources.files("trl") / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def _slice(config: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Reduce a language model to one key head with its query heads, and change some values."""
    heads = config["num_key_value_heads"]
    sizes = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    return {**config, **{name: config[name] // heads for name in sizes}, **changes}


_CONTROL = (
    *("endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start", "box_end", "quad_start"),
    *("quad_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad"),
)
_CODE = ("fim_prefix", "fim_middle", "fim_suffix", "fim_pad", "repo_name", "file_sep")
_QWEN = (*(f"<|{name}|>" for name in _CONTROL), "<tool_call>", "</tool_call>", *(f"<|{name}|>" for name in _CODE))
_PLAIN = {*_QWEN[len(_CONTROL) :], "<tool_response>", "</tool_response>", "<think>", "</think>"}
"""Added tokens that are not special."""
_QWEN_TOKENIZER = {
    "tokenizer_class": "Qwen2Tokenizer",
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "bos_token": None,
    "unk_token": None,
    "model_max_length": 131072,
    "clean_up_tokenization_spaces": False,
    "add_prefix_space": False,
}
_QWEN_TEXT_TOKENS = 151643
_QWEN_GENERATION = {"bos_token_id": 151643, "eos_token_id": [151645, 151643], "pad_token_id": 151643}
_CLIP_NORM = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
_HALF_NORM = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}

_INTERNVL_TEMPLATE = (
    "{% for turn in messages %}<|im_start|>{{ turn.role + '\n' }}"
    "{% if turn.content is string %}{{ turn.content }}{% else %}{% for part in turn.content %}"
    "{% if part.type == 'image' %}{{ '<IMG_CONTEXT>\n' }}{% elif part.type == 'video' %}{{ '<video>\n' }}"
    "{% elif part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

SMOLVLM = Miniature(
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
    config={
        "architectures": ["SmolVLMForConditionalGeneration"],
        "model_type": "smolvlm",
        "transformers_version": "4.47.1",
        "image_token_id": 49190,
        "pad_token_id": 128002,
        "scale_factor": 4,
        "tie_word_embeddings": False,
        "vocab_size": 49280,
        "text_config": _slice(
            {
                "architectures": ["VLlama3ForCausalLM"],
                "model_type": "llama",
                "head_dim": 64,
                "hidden_size": 960,
                "intermediate_size": 2560,
                "num_attention_heads": 15,
                "num_key_value_heads": 5,
                "max_position_embeddings": 8192,
                "pad_token_id": 2,
                "pixel_shuffle_factor": 4,
                "rms_norm_eps": 1e-05,
                "rope_interleaved": False,
                "rope_theta": 100000,
                "vocab_size": 49280,
            },
            num_hidden_layers=2,  # 32
        ),
        # The published file leaves out what the classes of transformers have as default: 12 layers
        # and an intermediate size of 3072.
        "vision_config": {
            "model_type": "smolvlm_vision",
            "hidden_size": 128,  # 768
            "num_attention_heads": 2,  # 12
            "image_size": 512,
            "patch_size": 16,
            "max_image_size": {"longest_edge": 512},
            "size": {"longest_edge": 2048},
        },
    },
    tokenizer={
        "tokenizer_class": "GPT2Tokenizer",
        "bos_token": "<|im_start|>",
        "eos_token": "<end_of_utterance>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "extra_special_tokens": {
            "end_of_utterance_token": "<end_of_utterance>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "image_token": "<image>",
        },
        "model_max_length": 8192,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "truncation_side": "left",
        "processor_class": "SmolVLMProcessor",
    },
    first_special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    special=(
        "<global-img>",
        *(f"<row_{row}_col_{column}>" for row, column in product(range(1, 7), repeat=2)),
        "<fake_token_around_image>",
        "<image>",
        *(f"<|reserved_special_token_{number}|>" for number in range(88)),
        "<end_of_utterance>",
    ),
    text_tokens=49152,
    template=_trl("smolvlm"),
    tied=False,
    files={
        "preprocessor_config.json": {
            "image_processor_type": "SmolVLMImageProcessor",
            "processor_class": "SmolVLMProcessor",
            "do_convert_rgb": True,
            "do_image_splitting": True,
            "do_normalize": True,
            "do_pad": True,
            "do_rescale": True,
            "do_resize": True,
            **_HALF_NORM,
            "max_image_size": {"longest_edge": 512},
            "resample": 1,
            "rescale_factor": 1 / 255,
            "size": {"longest_edge": 2048},
            "video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 512}},
        },
        "processor_config.json": {"image_seq_len": 64, "processor_class": "SmolVLMProcessor"},
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": 49279, "pad_token_id": 2},
    },
)

QWEN3_VL = Miniature(
    "Qwen/Qwen3-VL-2B-Instruct",
    config={
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "transformers_version": "4.57.0.dev0",
        "image_token_id": 151655,
        "video_token_id": 151656,
        "vision_start_token_id": 151652,
        "vision_end_token_id": 151653,
        "tie_word_embeddings": True,
        "text_config": _slice(
            {
                "model_type": "qwen3_vl_text",
                "attention_bias": False,
                "bos_token_id": 151643,
                "eos_token_id": 151645,
                "head_dim": 128,
                "hidden_act": "silu",
                "hidden_size": 2048,
                "intermediate_size": 6144,
                "num_attention_heads": 16,
                "num_key_value_heads": 8,
                "max_position_embeddings": 262144,
                "rms_norm_eps": 1e-06,
                "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"},
                "rope_theta": 5000000,
                "tie_word_embeddings": True,
                "vocab_size": 151936,
            },
            num_hidden_layers=4,  # 28; the first three take the features of DeepStack
        ),
        "vision_config": {
            "model_type": "qwen3_vl",
            "deepstack_visual_indexes": [0, 1, 2],  # 5, 11, 17
            "depth": 4,  # 24
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 128,  # 1024
            "intermediate_size": 512,  # 4096
            "num_heads": 2,  # 16
            "out_hidden_size": 256,  # as the language model: 2048
            "in_channels": 3,
            "num_position_embeddings": 2304,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    },
    tokenizer={**_QWEN_TOKENIZER, "model_max_length": 262144},
    special=(*_QWEN, "<tool_response>", "</tool_response>", "<think>", "</think>"),
    text_tokens=_QWEN_TEXT_TOKENS,
    template=_trl("qwen3_vl"),
    files={
        "preprocessor_config.json": {
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "processor_class": "Qwen3VLProcessor",
            "size": {"longest_edge": 16777216, "shortest_edge": 65536},
            "patch_size": 16,
            "temporal_patch_size": 2,
            "merge_size": 2,
            **_HALF_NORM,
        },
        "video_preprocessor_config.json": {
            "video_processor_type": "Qwen3VLVideoProcessor",
            "processor_class": "Qwen3VLProcessor",
            "size": {"longest_edge": 25165824, "shortest_edge": 4096},
            "patch_size": 16,
            "temporal_patch_size": 2,
            "merge_size": 2,
            **_HALF_NORM,
        },
        "generation_config.json": {
            **_QWEN_GENERATION,
            "do_sample": True,
            "top_k": 20,
            "top_p": 0.8,
            "repetition_penalty": 1.0,
            "temperature": 0.7,
        },
    },
)

INTERNVL3 = Miniature(
    "OpenGVLab/InternVL3-1B-hf",
    config={
        "architectures": ["InternVLForConditionalGeneration"],
        "model_type": "internvl",
        "transformers_version": "4.52.0.dev0",
        "downsample_ratio": 0.5,
        "image_seq_length": 256,
        "image_token_id": 151667,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
        # Nothing about tied embeddings: the default is true, though the weights have both matrices.
        "text_config": _slice(
            {
                "architectures": ["Qwen2ForCausalLM"],
                "model_type": "qwen2",
                "bos_token_id": 151643,
                "eos_token_id": 151645,
                "hidden_act": "silu",
                "hidden_size": 896,
                "intermediate_size": 4864,
                "num_attention_heads": 14,
                "num_key_value_heads": 2,
                "max_position_embeddings": 32768,
                "rms_norm_eps": 1e-06,
                "rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
                "rope_theta": 1000000.0,
                "tie_word_embeddings": False,
                "vocab_size": 151674,
            },
            num_hidden_layers=2,  # 24
        ),
        "vision_config": {
            "model_type": "internvl_vision",
            "architectures": ["InternVisionModel"],
            "attention_bias": True,
            "hidden_act": "gelu",
            "hidden_size": 128,  # 1024
            "intermediate_size": 512,  # 4096
            "num_attention_heads": 2,  # 16
            "num_hidden_layers": 2,  # 24
            "image_size": [448, 448],
            "patch_size": [14, 14],
            "layer_norm_eps": 1e-06,
            "layer_scale_init_value": 0.1,
            "norm_type": "layer_norm",
            "use_absolute_position_embeddings": True,
            "use_mask_token": False,
            "use_mean_pooling": True,
            "use_qk_norm": False,
        },
    },
    tokenizer={
        **_QWEN_TOKENIZER,
        "extra_special_tokens": {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        "model_max_length": 8192,
        "processor_class": "InternVLProcessor",
    },
    special=(
        *_QWEN,
        "<img>",
        "</img>",
        "<IMG_CONTEXT>",
        "<video>",
        *(f"<{end}{name}>" for name in ("quad", "ref", "box") for end in ("", "/")),
    ),
    text_tokens=_QWEN_TEXT_TOKENS,
    template=_INTERNVL_TEMPLATE,
    tied=False,
    files={
        "preprocessor_config.json": {
            "image_processor_type": "GotOcr2ImageProcessorFast",
            "processor_class": "InternVLProcessor",
            "crop_to_patches": False,
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
            "max_patches": 12,
            "min_patches": 1,
            "resample": 3,
            "rescale_factor": 1 / 255,
            "size": {"height": 448, "width": 448},
        },
        "processor_config.json": {"image_seq_length": 256, "processor_class": "InternVLProcessor"},
        "generation_config.json": {"eos_token_id": 151645},
    },
)

QWEN25 = Miniature(
    "Qwen/Qwen2.5-1.5B-Instruct",
    config={
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "transformers_version": "4.43.1",
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "hidden_act": "silu",
        **_slice(
            {"hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12, "num_key_value_heads": 2},
            num_hidden_layers=2,  # 28
        ),
        "max_position_embeddings": 32768,
        "max_window_layers": 21,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    tokenizer=_QWEN_TOKENIZER,
    special=_QWEN,
    text_tokens=_QWEN_TEXT_TOKENS,
    template=_trl("qwen2_5"),
    files={
        "generation_config.json": {
            **_QWEN_GENERATION,
            "do_sample": True,
            "repetition_penalty": 1.1,
            "temperature": 0.7,
            "top_k": 20,
            "top_p": 0.8,
        }
    },
)

QWEN25_VL = Miniature(
    "Qwen/Qwen2.5-VL-7B-Instruct",
    config={
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "transformers_version": "4.41.2",
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "image_token_id": 151655,
        "video_token_id": 151656,
        "vision_start_token_id": 151652,
        "vision_end_token_id": 151653,
        "vision_token_id": 151654,
        "hidden_act": "silu",
        # The published file has the values of the language model at its top.
        **_slice(
            {"hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28, "num_key_value_heads": 4},
            num_hidden_layers=2,  # 28
        ),
        "max_position_embeddings": 128000,
        "max_window_layers": 28,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "vocab_size": 152064,
        "vision_config": {
            "depth": 2,  # 32
            "fullatt_block_indexes": [1],  # 7, 15, 23, 31
            "hidden_act": "silu",
            "hidden_size": 320,  # 1280
            "intermediate_size": 855,  # 3420
            "num_heads": 4,  # 16
            "out_hidden_size": 896,  # as the language model: 3584
            "in_chans": 3,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
            "window_size": 112,
        },
    },
    tokenizer=_QWEN_TOKENIZER,
    special=_QWEN,
    text_tokens=_QWEN_TEXT_TOKENS,
    template=_trl("qwen2_5_vl"),
    tied=False,
    files={
        "preprocessor_config.json": {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
            "min_pixels": 3136,
            "max_pixels": 12845056,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            **_CLIP_NORM,
        },
        "generation_config.json": {**_QWEN_GENERATION, "do_sample": True, "repetition_penalty": 1.05, "temperature": 0.000001},
    },
)

CHAT = (SMOLVLM, QWEN3_VL, INTERNVL3, QWEN25, QWEN25_VL)
"""The chat models of the profiles `laptop` and `paper`."""


def build_bge_small(folder: Path) -> Path:
    """Write a miniature of BAAI/bge-small-en-v1.5: BERT with word pieces, at most 512 tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=2000, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(_texts(), trainer)
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ids)
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)), encoding="utf-8")
    config: dict[str, Any] = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": 64,  # 384
        "intermediate_size": 256,  # 1536
        "num_attention_heads": 2,  # 12
        "num_hidden_layers": 2,  # 12
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "vocab_size": 30522,
    }
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True))
    tokens = {f"{name}_token": token for name, token in names.items()}
    _write(folder, {"config.json": config})
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**config)).save_pretrained(folder)
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512, **tokens}
    _write(folder, {"config.json": config, "tokenizer_config.json": settings})
    return folder


def build_bge_m3(folder: Path) -> Path:
    """Write a miniature of BAAI/bge-m3: XLM-RoBERTa, 8192 tokens, weights in a pickle only."""
    folder.mkdir(parents=True, exist_ok=True)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=1500, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    ids = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", ids)
    tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_size": 64,  # 1024
        "intermediate_size": 256,  # 4096
        "num_attention_heads": 2,  # 16
        "num_hidden_layers": 2,  # 24
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 8194,
        "pad_token_id": 1,
        "type_vocab_size": 1,
        "vocab_size": 2002,  # 250002
    }
    settings = {
        "tokenizer_class": "XLMRobertaTokenizer",
        "model_max_length": 8192,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    torch.manual_seed(0)
    model = transformers.XLMRobertaModel(transformers.XLMRobertaConfig(**config))
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    _write(folder, {"config.json": config, "tokenizer_config.json": settings})
    return folder


def _texts() -> list[str]:
    return [file.read_text(encoding="utf-8") for file in sorted(Path(prompts.__file__).parent.rglob("*.jinja"))]
