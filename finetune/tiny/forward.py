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


class Learner(torch.nn.Module):
    """A tiny model as the Trainer sees it: a batch in, its loss out. Its checkpoints hold each weight once, under one name.

    Beside the reply it learns the prompt's text (as much as `prompt_weight` says) and, through a head that is thrown away,
    whether each listed number is right: many signals a row where the reply has one or two.
    """

    _keys_to_ignore_on_save = ("model.lm_head.weight",)  # the Trainer asks for this, and then for `tie_weights`, when it resumes

    def __init__(self, model: PreTrainedModel, *, prompt_weight: float) -> None:
        super().__init__()
        self.model, self.prompt_weight = model, prompt_weight
        self.mark = torch.nn.Linear(model.config.get_text_config().hidden_size, 1)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        marks: torch.Tensor,
        position_ids: torch.Tensor,
        patches: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Reply, prompt and marks together, under the key `loss`."""
        hidden = read(self.model, input_ids, attention_mask, position_ids, patches)
        total = loss(self.model, hidden, labels)
        if self.prompt_weight:
            prompt = (labels == -100) & attention_mask.bool() & (input_ids != getattr(self.model.config, "image_token_id", -1))
            total = total + self.prompt_weight * loss(self.model, hidden, input_ids.masked_fill(~prompt, -100))
        listed = marks != -100
        if listed.any():
            guess = self.mark(hidden[listed]).squeeze(-1)
            total = total + functional.binary_cross_entropy_with_logits(guess, marks[listed].float())
        return {"loss": total}

    def tie_weights(self) -> None:
        """Make the output head the embedding again."""
        self.model.tie_weights()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """All weights but the output head, which is the embedding."""
        return {
            name: weight for name, weight in super().state_dict(*args, **kwargs).items() if not name.endswith("lm_head.weight")
        }


def read(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    position_ids: torch.Tensor,
    patches: torch.Tensor | None = None,
) -> torch.Tensor:
    """Last hidden states (rows, length, hidden) of a batch made by `finetune.tiny.data.collate`."""
    embeddings = model.get_input_embeddings()(input_ids)
    decoder, positions = model.model, position_ids[0]
    if hasattr(model.model, "visual"):
        decoder, positions = model.model.language_model, position_ids
    if patches is not None:
        seen = see(model.model.visual, patches)
        embeddings = embeddings.masked_scatter((input_ids == model.config.image_token_id).unsqueeze(-1), seen)
    return decoder(
        inputs_embeds=embeddings, attention_mask=attention_mask, position_ids=positions, use_cache=False
    ).last_hidden_state


def loss(model: PreTrainedModel, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the labelled tokens, each predicted from the hidden state before it; logits nowhere else."""
    labels, hidden = labels[:, 1:], hidden[:, :-1]
    there = labels != -100
    return functional.cross_entropy(model.lm_head(hidden[there]), labels[there])


def see(tower: Any, patches: torch.Tensor) -> torch.Tensor:
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
