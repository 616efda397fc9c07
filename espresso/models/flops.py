"""What a model computes, from its config alone: operations of the vision tower, the projector and the language model.

A multiplication and an addition count as two operations, as torch's FlopCounterMode counts them, against which the tests hold the
supported families; norms, activations and embeddings are left out, as they are there. Attention counts what is computed, not
what a causal mask keeps. Many papers, VideoEspresso's Table 1 among them, report multiply-adds: half as many.
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

ROLES = {"caption": "captioner", "select": "selector", "evidence": "reasoner", "answer": "reasoner", "judge": "judge"}
"""Whose work a node of the graph is."""


@dataclass(frozen=True)
class Cost:
    """Operations of one request, by part. attention is the language model's; the vision tower's own is in vision."""

    vision: float = 0.0
    projector: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    attention: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return self.vision + self.projector + self.prefill + self.decode + self.attention


@dataclass(frozen=True)
class Tower:
    """A stack of transformer layers. inner: width of the feed-forward part, which has three matrices where it is gated, else two.

    query, keys: widths of all query heads, and of all key heads, together.
    """

    layers: int
    width: int
    inner: int
    gated: bool
    query: int
    keys: int

    @property
    def per_token(self) -> int:
        """Multiply-adds of a token, attention to others left out."""
        attention = 2 * self.width * (self.query + self.keys)
        return self.layers * (attention + (3 if self.gated else 2) * self.width * self.inner)

    def attending(self, tokens: float, others: float) -> float:
        """Multiply-adds of `tokens` that attend to `others` each."""
        return self.layers * 2 * self.query * tokens * others


@dataclass(frozen=True)
class Sight:
    """How a model sees. patch: numbers in a patch of pixels. merged: patches that become one token of the language model.

    extra: tokens of the tower for each picture beside its patches. window: patches that a layer attends to at most, in all layers
    but `wide` of them; None where all attend to the whole picture. projector: multiply-adds for each token.
    """

    tower: Tower
    patch: int
    merged: int
    projector: int
    extra: int = 0
    window: int | None = None
    wide: int = 0


@dataclass(frozen=True)
class Model:
    """A model's sizes, as `read` finds them in its config. sight: None for a model of text alone."""

    language: Tower
    vocabulary: int
    sight: Sight | None

    def cost(self, tokens_in: float, tokens_out: float, *, tokens_visual: float = 0, pictures: int = 0) -> Cost:
        """Count one request: a prompt read at once, of which `tokens_visual` are `pictures`, and a reply of `tokens_out` tokens.

        Each picture is taken to have as many patches as its tokens were merged from, all pictures alike. The first token of the
        reply comes with the prompt.
        """
        language, later = self.language, max(tokens_out - 1, 0.0)
        vision = projector = 0.0
        if self.sight and pictures:
            vision = pictures * _seen(self.sight, tokens_visual * self.sight.merged / pictures)
            projector = tokens_visual * self.sight.projector
        keys = language.attending(tokens_in, tokens_in) + language.attending(later, tokens_in + (later + 1) / 2)
        return Cost(
            vision=2.0 * vision,
            projector=2.0 * projector,
            prefill=2.0 * (tokens_in * language.per_token + language.width * self.vocabulary),
            decode=2.0 * later * (language.per_token + language.width * self.vocabulary),
            attention=2.0 * keys,
        )


def _seen(sight: Sight, patches: float) -> float:
    """Multiply-adds for one picture of so many patches."""
    tower, tokens = sight.tower, patches + sight.extra
    attending = tower.attending(tokens, tokens)
    if sight.window:
        narrow = (tower.layers - sight.wide) / tower.layers
        attending = attending * (1 - narrow) + tower.attending(tokens, min(sight.window, tokens)) * narrow
    return patches * sight.patch * tower.width + tokens * tower.per_token + attending


def read(config: Mapping[str, Any]) -> Model:
    """Find the sizes in a model's `config.json`. Raises ModelError for a family whose pictures it cannot count."""
    text = config.get("text_config") or config
    width = text["hidden_size"]
    head = text.get("head_dim") or width // text["num_attention_heads"]
    keys = text.get("num_key_value_heads") or text["num_attention_heads"]
    language = Tower(
        layers=text["num_hidden_layers"],
        width=width,
        inner=text["intermediate_size"],
        gated=True,
        query=head * text["num_attention_heads"],
        keys=head * keys,
    )
    vision = config.get("vision_config")
    sight = _sight(config, vision, width) if vision else None
    return Model(language, text["vocab_size"], sight)


def _sight(config: Mapping[str, Any], vision: Mapping[str, Any], width: int) -> Sight:
    match config.get("model_type"):
        case "qwen2_vl":
            return _qwen(vision, vision["embed_dim"], int(vision["embed_dim"] * vision["mlp_ratio"]), width, gated=False)
        case "qwen2_5_vl":
            return _qwen(vision, vision["hidden_size"], vision["intermediate_size"], vision["out_hidden_size"], gated=True)
        case "qwen3_vl":
            return _qwen(vision, vision["hidden_size"], vision["intermediate_size"], vision["out_hidden_size"], gated=False)
        case "internvl":
            merged = round(config.get("downsample_ratio", 0.5) ** -2)
            return _plain(vision, merged, (merged * vision["hidden_size"] + width) * width, extra=1)
        case "llava" | "llava_onevision":
            extra = int(vision.get("model_type") == "clip_vision_model")
            return _plain(vision, 1, (vision["hidden_size"] + width) * width, extra=extra)
        case "smolvlm" | "idefics3":
            merged = config.get("scale_factor", 2) ** 2
            return _plain(vision, merged, merged * vision["hidden_size"] * width)
        case other:
            raise ModelError(f"{other}: what it computes for a picture is not known. Count a model of the supported families.")


def _qwen(vision: Mapping[str, Any], width: int, inner: int, out: int, *, gated: bool) -> Sight:
    """Qwen's towers: patches two frames deep, merged by a feed-forward part, and by one more for each layer that is tapped."""
    merged, patch = vision["spatial_merge_size"] ** 2, vision["patch_size"]
    tower = Tower(vision["depth"], width, inner, gated, width, width)
    window = vision.get("window_size")
    return Sight(
        tower,
        patch=vision.get("in_channels", vision.get("in_chans", 3)) * vision["temporal_patch_size"] * patch**2,
        merged=merged,
        projector=(merged * width + out) * merged * width * (1 + len(vision.get("deepstack_visual_indexes") or ())),
        window=(window // patch) ** 2 if window else None,
        wide=len(vision.get("fullatt_block_indexes") or ()),
    )


def _plain(vision: Mapping[str, Any], merged: int, projector: int, *, extra: int = 0) -> Sight:
    """A plain vision transformer. extra: its class token, where it has one."""
    width, patch = vision["hidden_size"], vision["patch_size"]
    tower = Tower(vision["num_hidden_layers"], width, vision["intermediate_size"], gated=False, query=width, keys=width)
    side = patch if isinstance(patch, int) else patch[0]
    return Sight(tower, patch=3 * side**2, merged=merged, projector=projector, extra=extra)


def tflops(trace: Iterable[Step], profile: Profile, *, saved: bool = False) -> dict[str, float]:
    """Sum up what a trace's requests cost, in 10^12 operations by role; a role whose model's config is not at hand is left out.

    saved: what the captions that were in the cache had cost, instead.
    The captions of a step are taken to be alike. Options that are weighed as replies count as one: the prompt is read once. The
    samples of a judge count as one long reply.
    """
    sums: dict[str, float] = {}
    for step in trace:
        captions = step.node == "caption"
        if saved and not captions:
            continue
        role = profile.roles.get(ROLES.get(step.node, ""))
        source = role.model if isinstance(role, LocalRole) else role.weights if role else None
        model = _on_disk(source) if source else None
        requests = (step.cached if saved else step.frames - step.cached) if captions else 1
        read, written, seen = (
            (step.saved_in, step.saved_out, step.saved_visual) if saved else (step.tokens_in, step.tokens_out, step.tokens_visual)
        )
        if model is None or not requests or not read:  # true captions were read by nobody
            continue
        size = model.cost(
            read / requests, written / requests, tokens_visual=seen / requests, pictures=1 if captions else step.frames
        )
        sums[ROLES[step.node]] = sums.get(ROLES[step.node], 0.0) + requests * size.total / 1e12
    return sums


@cache
def _on_disk(source: str) -> Model | None:
    """Read the config of a folder, or of a hub's model that was fetched before; None where there is none that is known."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - takes a quarter of a second

    folder = Path(source) / "config.json"
    found = folder if folder.is_file() else None if Path(source).is_absolute() else try_to_load_from_cache(source, "config.json")
    try:
        return read(json.loads(Path(found).read_text())) if isinstance(found, str | Path) else None
    except (ModelError, KeyError):
        return None
