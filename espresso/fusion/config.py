"""Configuration of the fusion models: the classifier of pairs, and the classifier of puzzles."""

from __future__ import annotations

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, CLIPVisionConfig, PreTrainedConfig, SiglipVisionConfig

Fusion = Literal["late", "mid", "early"]
"""Where the two visuals of a pair meet (section 4.4, "Effect of Fusion Strategies").

"late" concatenates the pooled outputs of the two passes; "mid" puts two more encoder layers on the
outputs of both passes; "early" reads both visuals and the text in one pass.
"""

Align = Literal["none", "text-to-image", "image-to-text", "both"]
"""Which stream the cross-attention layers update: "text-to-image" updates the tokens of pictures
from those of the text, "image-to-text" the other way round."""

Merge = Literal["attention", "concatenation", "pooling"]
"""How the classifier of puzzles joins a picture and a question: attention from the picture to the
text, both features side by side, or their sum."""

Pool = Literal["cls", "attention"]
"""How tokens become one feature: the first one, or attention from a learned query."""

PuzzleHead = Literal["per-puzzle", "shared", "seq2seq"]
"""What the classifier of puzzles predicts: the value of the answer, by a linear layer for each root
puzzle; an option; or the value digit by digit."""

_VISION_CONFIGS = {"clip_vision_model": CLIPVisionConfig, "siglip_vision_model": SiglipVisionConfig}
"""Vision towers whose configuration `AutoConfig` knows only as a part of a larger one."""


@strict
class FusionConfig(PreTrainedConfig):
    """Configuration of a `FusionModel`; the defaults are those of METER with base encoders.

    Either `vision_config` and `text_config` are given, or `backbone_config`.
    """

    model_type = "espresso_fusion"
    sub_configs = {"vision_config": AutoConfig, "text_config": AutoConfig, "backbone_config": AutoConfig}  # type: ignore[dict-item]  # noqa: RUF012
    has_no_defaults_at_init = True
    visuals = 2
    """Visuals of a question that the classifier reads."""

    vision_config: Any = None
    """Configuration of the vision encoder, or a dictionary of it with `model_type`."""

    text_config: Any = None
    """Configuration of the text encoder, or a dictionary of it with `model_type`."""

    backbone_config: Any = None
    """Configuration of a model that reads text and picture together (ViLT, BridgeTower), or a
    dictionary of it with `model_type`. It replaces encoders and cross-attention layers."""

    hidden_size: int = 768
    """Width of the cross-attention layers."""

    num_attention_heads: int = 12
    """Attention heads of the cross-attention layers."""

    intermediate_size: int = 3072
    """Width of the feed-forward part of the cross-attention layers."""

    cross_layers: int = 6
    """Number of cross-attention layers of each stream."""

    align: Align = "both"
    """Which streams have cross-attention layers."""

    fusion: Fusion = "late"
    """Where the two visuals meet."""

    mid_layers: int = 2
    """Encoder layers that "mid" adds."""

    frames: int = 4
    """Frames of a video (k in section 3.2); an image is a video of one frame."""

    dropout: float = 0.0
    """Dropout in the cross-attention layers and the head."""

    initializer_range: float = 0.02
    """Standard deviation of new weights."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Convert the parts to configurations."""
        for name in self.sub_configs:
            if isinstance(part := getattr(self, name), dict):
                setattr(self, name, _configuration(dict(part)))
        if (self.backbone_config is None) == (self.vision_config is None or self.text_config is None):
            raise ValueError("give vision_config and text_config, or backbone_config instead of both")
        if self.backbone_config is not None and self.fusion == "early":
            raise ValueError("early fusion needs cross-attention layers of ours; use late or mid with a backbone")
        super().__post_init__(**kwargs)


@strict
class PuzzleConfig(FusionConfig):
    """Configuration of a `PuzzleClassifier`. It reads one picture and one question."""

    model_type = "espresso_puzzles"
    visuals = 1

    merge: Merge = "attention"
    """How picture and question are joined."""

    pool: Pool = "attention"
    """How tokens become one feature."""

    head: PuzzleHead = "shared"
    """What is predicted."""

    answers: Any = None
    """For "per-puzzle": id of a root puzzle, as text -> for each step of its answers the values
    that can be predicted. Answers have one step, but those of sequences have up to ten."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Check that the parts fit."""
        super().__post_init__(**kwargs)
        if self.backbone_config is not None:
            raise ValueError("puzzles need vision_config and text_config")
        if self.pool == "cls" and self.vision_config.model_type == "siglip_vision_model":
            raise ValueError("SigLIP has no class token; use attention pooling")
        if self.head == "per-puzzle" and not self.answers:
            raise ValueError("a head per puzzle needs answers")
        if self.answers:  # a saved configuration is sorted by text, so that 16 comes before 2
            self.answers = {puzzle: self.answers[puzzle] for puzzle in sorted(self.answers, key=int)}


for _config in (FusionConfig, PuzzleConfig):
    AutoConfig.register(_config.model_type, _config)  # so that AutoTokenizer knows the folder of a fusion model


def _configuration(part: dict[str, Any]) -> PreTrainedConfig:
    model_type = part.pop("model_type")
    vision: Any = _VISION_CONFIGS.get(model_type)
    return vision(**part) if vision else AutoConfig.for_model(model_type, **part)
