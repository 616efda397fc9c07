"""The training forward pass of a Qwen2-VL model whose pictures are all of one size.

The same weights and the same numbers as transformers' own forward pass (a test compares them), without what costs time on a CPU:
the patch embedding is one matrix product instead of a Conv3d whose backward is slow, attention in the vision tower runs over all
pictures at once instead of picture by picture, and logits are computed only where there is a label.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision

from finetune.tiny.data import Batch


class Learner(torch.nn.Module):
    """A tiny model as the Trainer sees it: a batch in, its loss out. Its checkpoints hold each weight once, under one name."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        position_ids: torch.Tensor,
        patches: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Mean cross-entropy under the key `loss`."""
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels, "position_ids": position_ids}
        return {"loss": loss(self.model, batch if patches is None else {**batch, "patches": patches})}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """All weights but the output head, which is the embedding."""
        return {name: weight for name, weight in super().state_dict(*args, **kwargs).items() if not name.endswith("lm_head.weight")}


def loss(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy over the labelled tokens of a batch made by `finetune.tiny.data.collate`."""
    embeddings = model.get_input_embeddings()(batch["input_ids"])
    positions = batch["position_ids"][0]
    decoder = model.model
    if hasattr(model.model, "visual"):
        decoder, positions = model.model.language_model, batch["position_ids"]
    if "patches" in batch:
        seen = see(model.model.visual, batch["patches"])
        embeddings = embeddings.masked_scatter((batch["input_ids"] == model.config.image_token_id).unsqueeze(-1), seen)
    hidden = decoder(
        inputs_embeds=embeddings, attention_mask=batch["attention_mask"], position_ids=positions, use_cache=False
    ).last_hidden_state
    labels = batch["labels"][:, 1:]
    there = labels != -100
    return functional.cross_entropy(model.lm_head(hidden[:, :-1][there]), labels[there])


def see(tower: torch.nn.Module, patches: torch.Tensor) -> torch.Tensor:
    """Visual tokens of equal-sized pictures: (pictures, patches, 588) -> (pictures * tokens, hidden)."""
    count, length, _ = patches.shape
    kernel = tower.patch_embed.proj.weight.sum(dim=2).flatten(1)  # a still picture fills both time slots: (w0 + w1) x
    hidden = functional.linear(patches, kernel)
    cos, sin = tower.rotary_pos_emb(hidden, _grid(length, patches.device))
    for block in tower.blocks:
        attention = block.attn
        mixed = attention.qkv(block.norm1(hidden)).view(count * length, 3, attention.num_heads, -1)
        query, key, value = mixed.unbind(1)
        query, key = apply_rotary_pos_emb_vision(query, key, cos.repeat(count, 1), sin.repeat(count, 1))
        heads = [x.view(count, length, attention.num_heads, -1).transpose(1, 2) for x in (query, key, value)]
        scores = torch.softmax(heads[0] @ heads[1].transpose(-1, -2) * attention.scaling, dim=-1)
        hidden = hidden + attention.proj((scores @ heads[2]).transpose(1, 2).reshape(count, length, -1))
        hidden = hidden + block.mlp(block.norm2(hidden))
    return tower.merger(hidden.reshape(count * length, -1))


def _grid(length: int, device: torch.device) -> torch.Tensor:
    """(length, 2) row and column of each patch, in two-by-two order."""
    half = int(length**0.5) // 2
    rows, columns = torch.meshgrid(torch.arange(2 * half, device=device), torch.arange(2 * half, device=device), indexing="ij")
    both = torch.stack([rows, columns], dim=-1).view(half, 2, half, 2, 2).transpose(1, 2)
    return both.reshape(length, 2)
