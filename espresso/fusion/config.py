"""Configuration of the fusion models."""

from __future__ import annotations

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, CLIPVisionConfig, PreTrainedConfig, SiglipVisionConfig

Fusion = Literal["late", "mid", "early"]
"""Where the two visuals of a pair meet (section 4.4, "Effect of Fusion Strategies").

"late" concatenates the pooled outputs of the two passes; "mid" puts two more encoder layers on the
outputs of both passes; "early" reads both visuals and the text in one pass.
"""

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


AutoConfig.register(FusionConfig.model_type, FusionConfig)  # so that AutoTokenizer knows the folder of a fusion model


def _configuration(part: dict[str, Any]) -> PreTrainedConfig:
    model_type = part.pop("model_type")
    vision: Any = _VISION_CONFIGS.get(model_type)
    return vision(**part) if vision else AutoConfig.for_model(model_type, **part)
