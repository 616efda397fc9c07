"""The models: two encoders with cross-attention between them, and the classifier of pairs."""

from __future__ import annotations

import math
from itertools import zip_longest
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from espresso.fusion.config import FusionConfig


class FusionPreTrainedModel(PreTrainedModel):
    """What the fusion models share: configuration, prefix and initialization of weights."""

    config: FusionConfig
    config_class = FusionConfig
    base_model_prefix = "fusion"
    main_input_name = "input_ids"
    _supports_sdpa = True

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.MultiheadAttention):
            nn.init.xavier_uniform_(module.in_proj_weight)
            nn.init.zeros_(module.in_proj_bias)


class FusionModel(FusionPreTrainedModel):
    """Text and visuals, encoded and related to each other.

    The encoders are any that transformers loads: CLIP, SigLIP, ViT or ResNet, and BERT, RoBERTa or
    DeBERTa. The tokens of a convolutional network are the places of its last feature map, with a
    sinusoidal embedding of row and column, normalized as the last layer of a ViT does it.
    As in METER (Dou et al., 2022), text and visual tokens are two streams; in each layer, a stream
    attends to itself, then to the other one. `config.align` leaves out the layers of a stream.

    Each frame is encoded on its own. Then its tokens get the sinusoidal time embedding of the
    frame's number, and the ID embedding of the visual (section 3.2).
    """

    def __init__(self, config: FusionConfig) -> None:
        super().__init__(config)
        size = config.hidden_size
        self.vision = AutoModel.from_config(config.vision_config)
        self.text = AutoModel.from_config(config.text_config)
        vision = config.vision_config
        convolutional = hasattr(vision, "hidden_sizes")
        self.vision_projection = nn.Linear(vision.hidden_sizes[-1] if convolutional else vision.hidden_size, size)
        self.vision_norm = nn.LayerNorm(size) if convolutional else nn.Identity()
        self.text_projection = nn.Linear(config.text_config.hidden_size, size)
        self.visual_id = nn.Embedding(2, size)
        self.text_layers, self.visual_layers = (
            nn.ModuleList(cross_layer(config) for _ in range(config.cross_layers if config.align in (align, "both") else 0))
            for align in ("image-to-text", "text-to-image")
        )
        self.text_norm, self.visual_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.post_init()

    def encode_visuals(self, pixel_values: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode visuals.

        Args:
            pixel_values: all frames, (frames, 3, height, width).
            frames: for each visual the positions of its frames in `pixel_values`, (visuals, k); -1
                is no frame.

        Returns:
            Tokens, (visuals, k * tokens of a frame, hidden), and whether they are padding,
            (visuals, k * tokens of a frame).
        """
        seen = self.vision(pixel_values=pixel_values).last_hidden_state
        if convolutional := seen.dim() == 4:
            height, width = seen.shape[2:]
            seen = seen.flatten(2).transpose(1, 2)
        encoded = self.vision_projection(seen)
        if convolutional:
            encoded = self.vision_norm(encoded + _place_embedding(height, width, encoded))
        absent = frames < 0
        tokens = encoded[frames.clamp(min=0)] + time_embedding(frames.shape[1], encoded)[None, :, None]
        return tokens.flatten(1, 2), absent.repeat_interleave(encoded.shape[1], dim=1)

    def encode_text(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode texts: (texts, length) -> (texts, length, hidden)."""
        return cast(
            torch.Tensor,
            self.text_projection(self.text(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state),
        )

    def forward(
        self, text: torch.Tensor, text_padding: torch.Tensor, visual: torch.Tensor, visual_padding: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Relate encoded texts and visuals, one visual per text.

        Args:
            text: (rows, length, hidden).
            text_padding: whether tokens are padding, (rows, length).
            visual: (rows, tokens, hidden), with ID embeddings.
            visual_padding: whether tokens are padding, (rows, tokens).

        Returns:
            Tokens of text and visual, of the same shapes.
        """
        text_masks = {"tgt_key_padding_mask": text_padding, "memory_key_padding_mask": visual_padding}
        visual_masks = {"tgt_key_padding_mask": visual_padding, "memory_key_padding_mask": text_padding}
        for text_layer, visual_layer in zip_longest(self.text_layers, self.visual_layers):
            text, visual = (
                text_layer(text, visual, **text_masks) if text_layer else text,
                visual_layer(visual, text, **visual_masks) if visual_layer else visual,
            )
        return self.text_norm(text), self.visual_norm(visual)


class PairModel(FusionPreTrainedModel):
    """A classifier that says whether a text is true of two visuals.

    A reason is classified in the same way: the text is the statement followed by the reason.
    """

    def _add_head(self, pooled: int, tokens: bool) -> None:
        """Add the head, and for "mid" the layers before it.

        Args:
            pooled: width of the features of both visuals together, unless the fusion is "mid".
            tokens: whether "mid" reads tokens, so that passes need an embedding of their own.
        """
        config, size = self.config, self.config.hidden_size
        if config.fusion == "mid":
            self.start = nn.Embedding(1, size)
            if tokens:
                self.pass_id = nn.Embedding(2, size)
            layer = nn.TransformerEncoderLayer(size, **_layer_options(config))
            self.mid = nn.TransformerEncoder(layer, config.mid_layers, nn.LayerNorm(size), enable_nested_tensor=False)
            pooled = size
        self.head = nn.Sequential(nn.Linear(pooled, size), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(size, 1))

    def _middle(self, tokens: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        """Read the tokens of both passes, (rows, tokens, hidden); return (rows, hidden)."""
        start = self.start.weight.expand(len(tokens), 1, -1)
        read = self.mid(torch.cat([start, tokens], 1), src_key_padding_mask=functional.pad(padding, (1, 0)))
        return cast(torch.Tensor, read[:, 0])

    def _classify(self, features: torch.Tensor, labels: torch.Tensor | None) -> SequenceClassifierOutput:
        logits = self.head(features).squeeze(-1)
        loss = None if labels is None else functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return SequenceClassifierOutput(loss=loss, logits=logits)  # type: ignore[arg-type]


class FusionForPairs(PairModel):
    """The classifier of pairs on a `FusionModel` (Figure 3)."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__(config)
        self.fusion = FusionModel(config)
        self._add_head({"late": 4, "early": 2, "mid": 1}[config.fusion] * config.hidden_size, tokens=True)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pixel_values: torch.Tensor,
        frames: torch.Tensor,
        pairs: torch.Tensor,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Classify pairs.

        Args:
            input_ids: the texts, (rows, length).
            attention_mask: as `input_ids`.
            pixel_values: the frames of all visuals, see `FusionModel.encode_visuals`.
            frames: the frames of each visual, (visuals, k). A visual of several pairs occurs once.
            pairs: the positions of the two visuals of each row, (rows, 2).
            labels: 1 for true and 0 for false, (rows,).

        Returns:
            The logit that the text is true, (rows,), and with labels the binary cross-entropy.
        """
        visuals, visual_padding = self.fusion.encode_visuals(pixel_values, frames)
        text, text_padding = self.fusion.encode_text(input_ids, attention_mask), attention_mask == 0
        sides, paddings = list[torch.Tensor](), list[torch.Tensor]()
        for side in (0, 1):
            shown = pairs[:, side]
            most = int((frames[shown] >= 0).sum(1).max())  # an image needs no padding to the length of a video
            length = most * visuals.shape[1] // frames.shape[1]
            sides.append(visuals[shown, :length] + self.fusion.visual_id.weight[side])
            paddings.append(visual_padding[shown, :length])
        if self.config.fusion == "early":
            both, both_padding = torch.cat(sides, 1), torch.cat(paddings, 1)
            words, views = self.fusion(text, text_padding, both, both_padding)
            return self._classify(pool(words, views, both_padding), labels)
        passes = [self.fusion(text, text_padding, *side) for side in zip(sides, paddings, strict=True)]
        if self.config.fusion == "late":
            pooled = [pool(words, views, padding) for (words, views), padding in zip(passes, paddings, strict=True)]
            return self._classify(torch.cat(pooled, -1), labels)
        tokens = [torch.cat(each, 1) + self.pass_id.weight[side] for side, each in enumerate(passes)]
        padded = [torch.cat([text_padding, padding], 1) for padding in paddings]
        return self._classify(self._middle(torch.cat(tokens, 1), torch.cat(padded, 1)), labels)


class BackboneForPairs(PairModel):
    """The classifier of pairs on a model that reads one picture and a text (Table 4).

    Each frame of both visuals is read with the text. The pooled outputs get time and ID embeddings;
    their mean is the feature of a visual.
    """

    def __init__(self, config: FusionConfig) -> None:
        super().__init__(config)
        size = config.hidden_size
        self.backbone = AutoModel.from_config(config.backbone_config)
        self.projection = nn.Linear(_pooled_size(config.backbone_config), size)
        self.visual_id = nn.Embedding(2, size)
        self._add_head(2 * size, tokens=False)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pixel_values: torch.Tensor,
        frames: torch.Tensor,
        pairs: torch.Tensor,
        labels: torch.Tensor | None = None,
        pixel_mask: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Classify pairs; see `FusionForPairs.forward`.

        Args:
            input_ids: the texts, (rows, length).
            attention_mask: as `input_ids`.
            pixel_values: the frames of all visuals, (frames, 3, height, width).
            frames: the frames of each visual, (visuals, k).
            pairs: the positions of the two visuals of each row, (rows, 2).
            labels: 1 for true and 0 for false, (rows,).
            pixel_mask: which pixels are not padding, (frames, height, width).
        """
        shown = frames[pairs]  # (rows, 2, k)
        present = shown >= 0
        row, side, frame = present.nonzero(as_tuple=True)
        chosen = shown[present]
        masks = {} if pixel_mask is None else {"pixel_mask": pixel_mask[chosen]}
        read = self.backbone(
            input_ids=input_ids[row], attention_mask=attention_mask[row], pixel_values=pixel_values[chosen], **masks
        )
        pooled = self.projection(read.pooler_output)
        pooled = pooled + self.visual_id.weight[side] + time_embedding(shown.shape[2], pooled)[frame]
        tokens = pooled.new_zeros(*shown.shape, pooled.shape[-1]).index_put((row, side, frame), pooled)
        if self.config.fusion == "mid":
            return self._classify(self._middle(tokens.flatten(1, 2), ~present.flatten(1)), labels)
        return self._classify((tokens.sum(2) / present.sum(2, keepdim=True)).flatten(1), labels)


def pair_model(config: FusionConfig) -> type[FusionForPairs] | type[BackboneForPairs]:
    """Return the class of the classifier of pairs for a configuration."""
    return FusionForPairs if config.backbone_config is None else BackboneForPairs


def _pooled_size(config: Any) -> int:
    """Return the width of a backbone's pooled output; BridgeTower joins text and picture."""
    return (2 if config.model_type == "bridgetower" else 1) * int(config.hidden_size)


def pool(text: torch.Tensor, visual: torch.Tensor, visual_padding: torch.Tensor) -> torch.Tensor:
    """Return the first text token and the mean of the visual tokens, (rows, 2 * hidden).

    METER takes the class token of the picture; SigLIP has none, and a video has one per frame.
    """
    present = (~visual_padding)[..., None].to(visual.dtype)
    return torch.cat([text[:, 0], (visual * present).sum(1) / present.sum(1)], -1)


def _layer_options(config: FusionConfig) -> dict[str, Any]:
    return {
        "nhead": config.num_attention_heads,
        "dim_feedforward": config.intermediate_size,
        "dropout": config.dropout,
        "activation": functional.gelu,
        "batch_first": True,
        "norm_first": True,
    }


def cross_layer(config: FusionConfig) -> nn.TransformerDecoderLayer:
    """Return a layer in which a stream attends to itself, then to the other one."""
    return nn.TransformerDecoderLayer(config.hidden_size, **_layer_options(config))


def time_embedding(count: int, like: torch.Tensor) -> torch.Tensor:
    """Return the sinusoidal embeddings of frame numbers (Vaswani et al., 2017), (count, hidden)."""
    size = like.shape[-1]
    rates = torch.exp(torch.arange(0, size, 2, device=like.device) * (-math.log(10000.0) / size))
    angles = torch.arange(count, device=like.device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).to(like.dtype)


def _place_embedding(height: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """Return sinusoidal embeddings of row and column, (height * width, hidden)."""
    half = like[..., : like.shape[-1] // 2]
    rows, columns = time_embedding(height, half), time_embedding(width, half)
    return torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], -1).flatten(0, 1)
