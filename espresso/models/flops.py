"""Count the operations of a model from its config: vision encoder, projector, language model.

A multiplication and an addition count as two operations, as in torch's FlopCounterMode, which the
tests compare with for every supported family. Norms, activations and embeddings are left out, as
they are there. Attention counts all pairs that are computed, including those that a causal mask
discards. Many papers, VideoEspresso (Table 1) among them, report multiply-adds: half as many.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from espresso.errors import ModelError
from espresso.profiles import LocalRole, Profile
from espresso.schema import Step


@dataclass(frozen=True)
class Flops:
    """Operations of one request by part."""

    vision: float = 0.0
    """Vision encoder, its own attention included."""

    projector: float = 0.0
    """Projection of visual tokens into the language model."""

    prefill: float = 0.0
    """Language model on the prompt, without attention."""

    decode: float = 0.0
    """Language model on the reply, without attention."""

    attention: float = 0.0
    """Attention of the language model, on prompt and reply."""

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return self.vision + self.projector + self.prefill + self.decode + self.attention


@dataclass(frozen=True)
class TransformerStack:
    """A stack of equal transformer layers."""

    layers: int

    hidden_size: int

    intermediate_size: int
    """Width of the feed-forward part."""

    gated: bool
    """Whether the feed-forward part has a gate: three matrices instead of two."""

    query_size: int
    """Width of all query heads together."""

    key_size: int
    """Width of all key heads together; the value heads have the same."""

    @property
    def macs_per_token(self) -> int:
        """Multiply-adds per token, without the products of queries, keys and values."""
        attention = 2 * self.hidden_size * (self.query_size + self.key_size)
        return self.layers * (attention + (3 if self.gated else 2) * self.hidden_size * self.intermediate_size)

    def attention_macs(self, queries: float, keys: float) -> float:
        """Return the multiply-adds of `queries` tokens that attend to `keys` tokens each."""
        return self.layers * 2 * self.query_size * queries * keys


@dataclass(frozen=True)
class VisionEncoder:
    """A vision transformer with the projector behind it."""

    stack: TransformerStack

    patch_size: int
    """Values in a patch: channels x frames x height x width."""

    merged_patches: int
    """Patches that become one token of the language model."""

    projector_macs: int
    """Multiply-adds of the projector per token of the language model."""

    extra_tokens: int = 0
    """Tokens per picture besides its patches, such as a class token."""

    window: int | None = None
    """Patches that a token attends to in windowed layers; None if no layer is windowed."""

    full_attention_layers: int = 0
    """Layers without a window, if there is one."""

    def macs(self, patches: float) -> float:
        """Return the multiply-adds for one picture, without the projector."""
        stack, tokens = self.stack, patches + self.extra_tokens
        attention = stack.attention_macs(tokens, tokens)
        if self.window:
            windowed = (stack.layers - self.full_attention_layers) / stack.layers
            attention = attention * (1 - windowed) + stack.attention_macs(tokens, min(self.window, tokens)) * windowed
        return patches * self.patch_size * stack.hidden_size + tokens * stack.macs_per_token + attention


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a model that determine its operations."""

    language: TransformerStack

    vocab_size: int

    vision: VisionEncoder | None
    """None for a text model."""

    def flops(self, tokens_in: float, tokens_out: float, *, tokens_visual: float = 0, pictures: int = 0) -> Flops:
        """Count the operations of one request.

        All pictures are assumed to have the same size. The first token of the reply comes with the
        prefill.

        Args:
            tokens_in: prompt tokens, visual tokens included.
            tokens_out: reply tokens.
            tokens_visual: tokens of all pictures.
            pictures: number of pictures.
        """
        language, decoded = self.language, max(tokens_out - 1, 0.0)
        vision = projector = 0.0
        if self.vision and pictures:
            vision = pictures * self.vision.macs(tokens_visual * self.vision.merged_patches / pictures)
            projector = tokens_visual * self.vision.projector_macs
        attention = language.attention_macs(tokens_in, tokens_in)
        attention += language.attention_macs(decoded, tokens_in + (decoded + 1) / 2)
        head = language.hidden_size * self.vocab_size
        return Flops(
            vision=2.0 * vision,
            projector=2.0 * projector,
            prefill=2.0 * (tokens_in * language.macs_per_token + head),
            decode=2.0 * decoded * (language.macs_per_token + head),
            attention=2.0 * attention,
        )


def model_shape(config: Mapping[str, Any]) -> ModelShape:
    """Return the sizes of a model.

    Args:
        config: content of its `config.json`.

    Raises:
        ModelError: the vision encoder is of an unknown family.
    """
    text = config.get("text_config") or config
    width = text["hidden_size"]
    head = text.get("head_dim") or width // text["num_attention_heads"]
    key_heads = text.get("num_key_value_heads") or text["num_attention_heads"]
    language = TransformerStack(
        layers=text["num_hidden_layers"],
        hidden_size=width,
        intermediate_size=text["intermediate_size"],
        gated=True,
        query_size=head * text["num_attention_heads"],
        key_size=head * key_heads,
    )
    vision = config.get("vision_config")
    return ModelShape(language, text["vocab_size"], _vision_encoder(config, vision, width) if vision else None)


def _vision_encoder(config: Mapping[str, Any], vision: Mapping[str, Any], width: int) -> VisionEncoder:
    match config.get("model_type"):
        case "qwen2_vl":
            return _qwen(vision, vision["embed_dim"], int(vision["embed_dim"] * vision["mlp_ratio"]), width, gated=False)
        case "qwen2_5_vl":
            return _qwen(vision, vision["hidden_size"], vision["intermediate_size"], vision["out_hidden_size"], gated=True)
        case "qwen3_vl":
            return _qwen(vision, vision["hidden_size"], vision["intermediate_size"], vision["out_hidden_size"], gated=False)
        case "internvl":
            merged = round(config.get("downsample_ratio", 0.5) ** -2)
            return _vit(vision, merged, (merged * vision["hidden_size"] + width) * width, extra_tokens=1)
        case "llava" | "llava_onevision":
            extra_tokens = int(vision.get("model_type") == "clip_vision_model")
            return _vit(vision, 1, (vision["hidden_size"] + width) * width, extra_tokens=extra_tokens)
        case "smolvlm" | "idefics3":
            merged = config.get("scale_factor", 2) ** 2
            return _vit(vision, merged, merged * vision["hidden_size"] * width)
        case other:
            raise ModelError(f"cannot count the operations of the vision encoder of {other!r}. Use a supported model family.")


def _qwen(vision: Mapping[str, Any], hidden_size: int, intermediate_size: int, out: int, *, gated: bool) -> VisionEncoder:
    """Return Qwen's encoder: patches of two frames, merged by an MLP.

    Each DeepStack layer adds one more such MLP.
    """
    merged, patch = vision["spatial_merge_size"] ** 2, vision["patch_size"]
    window = vision.get("window_size")
    return VisionEncoder(
        TransformerStack(vision["depth"], hidden_size, intermediate_size, gated, hidden_size, hidden_size),
        patch_size=vision.get("in_channels", vision.get("in_chans", 3)) * vision["temporal_patch_size"] * patch**2,
        merged_patches=merged,
        projector_macs=(merged * hidden_size + out)
        * (merged * hidden_size)
        * (1 + len(vision.get("deepstack_visual_indexes") or ())),
        window=(window // patch) ** 2 if window else None,
        full_attention_layers=len(vision.get("fullatt_block_indexes") or ()),
    )


def _vit(vision: Mapping[str, Any], merged_patches: int, projector_macs: int, *, extra_tokens: int = 0) -> VisionEncoder:
    """Return a plain vision transformer, as in CLIP, SigLIP and InternViT."""
    width, patch = vision["hidden_size"], vision["patch_size"]
    stack = TransformerStack(
        layers=vision["num_hidden_layers"],
        hidden_size=width,
        intermediate_size=vision["intermediate_size"],
        gated=False,
        query_size=width,
        key_size=width,
    )
    side = patch if isinstance(patch, int) else patch[0]
    return VisionEncoder(stack, 3 * side**2, merged_patches, projector_macs, extra_tokens)


def tflops(trace: Iterable[Step], profile: Profile, *, saved: bool = False) -> dict[str, float]:
    """Sum up the cost of a trace by role.

    All captions of a step are assumed to be alike. Choices that are scored as replies count as one
    request, because the prompt is prefilled once. The samples of a judge count as one long reply.

    Args: trace: the steps of an answer. profile: tells the model of each role. saved: return what
    cached captions cost when they were made, instead of what was computed now.

    Returns: Role -> 10^12 operations. A role is left out if the config of its model is not on this
    machine.
    """
    sums: dict[str, float] = {}
    for step in trace:
        captions = step.role == "captioner"
        if step.role is None or (saved and not captions):
            continue
        role = profile.roles.get(step.role)
        source = role.model if isinstance(role, LocalRole) else role.weights if role else None
        shape = _shape_on_disk(source) if source else None
        requests = (step.cached if saved else step.frames - step.cached) if captions else 1
        tokens_in, tokens_out, tokens_visual = (
            (step.saved_in, step.saved_out, step.saved_visual) if saved else (step.tokens_in, step.tokens_out, step.tokens_visual)
        )
        if shape is None or not requests or not tokens_in:  # ground-truth captions have no tokens
            continue
        each = shape.flops(
            tokens_in / requests,
            tokens_out / requests,
            tokens_visual=tokens_visual / requests,
            pictures=1 if captions else step.frames,
        )
        sums[step.role] = sums.get(step.role, 0.0) + requests * each.total / 1e12
    return sums


@cache
def _shape_on_disk(source: str) -> ModelShape | None:
    """Read the config of a folder or cached hub model; None if it is missing or not supported."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - takes a quarter of a second

    folder = Path(source)
    if (folder / "config.json").is_file():
        file: str | Path | None = folder / "config.json"
    else:
        cached = None if folder.is_absolute() else try_to_load_from_cache(source, "config.json")
        file = cached if isinstance(cached, str) else None
    if not file:
        return None
    try:
        return model_shape(json.loads(Path(file).read_bytes()))
    except ModelError:
        return None
    except KeyError:
        return _shape_with_defaults(file)


def _shape_with_defaults(file: str | Path) -> ModelShape | None:
    """Read a config that leaves out the default values of its class, as that of SmolVLM2 does."""
    from transformers import AutoConfig  # noqa: PLC0415 - takes seconds

    try:
        return model_shape(AutoConfig.from_pretrained(file, trust_remote_code=False).to_dict())
    except (ModelError, KeyError, ValueError, OSError):
        return None
