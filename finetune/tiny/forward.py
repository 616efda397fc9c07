"""Training forward pass of a tiny model with frames of one size, optimized for a CPU.

It computes the same numbers as the forward pass of transformers (a test compares them), but the
patch embedding is one matrix product instead of a Conv3d with a slow backward pass, attention in
the vision tower runs over all frames at once instead of frame by frame, and logits are computed
only at labelled positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision


class TrainingModel(torch.nn.Module):
    """A tiny model wrapped for the Trainer: it takes a batch and returns the loss.

    Besides the reply it learns the text of the prompt, and classifies each marked token as right or
    wrong with a linear head that is discarded after training: many training signals per row where
    the reply has one or two. Checkpoints hold each weight once.

    Args:
        model: the tiny model.
        prompt_weight: weight of the prompt's tokens in the loss.
    """

    _keys_to_ignore_on_save = ("model.lm_head.weight",)  # the Trainer reads it on resume, and then calls `tie_weights`

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
        """Return the sum of the losses of reply, prompt and marks under the key `loss`.

        The arguments are the tensors of `finetune.tiny.data.collate`.
        """
        hidden = hidden_states(self.model, input_ids, attention_mask, position_ids, patches)
        total = token_loss(self.model, hidden, labels)
        if self.prompt_weight:
            prompt = (labels == -100) & attention_mask.bool() & (input_ids != getattr(self.model.config, "image_token_id", -1))
            total = total + self.prompt_weight * token_loss(self.model, hidden, input_ids.masked_fill(~prompt, -100))
        marked = marks != -100
        if marked.any():
            logits = self.mark(hidden[marked]).squeeze(-1)
            total = total + functional.binary_cross_entropy_with_logits(logits, marks[marked].float())
        return {"loss": total}

    def tie_weights(self) -> None:
        """Tie the output head to the embedding again, after a checkpoint is loaded."""
        self.model.tie_weights()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return all weights but the output head, which is tied to the embedding."""
        return {
            name: weight for name, weight in super().state_dict(*args, **kwargs).items() if not name.endswith("lm_head.weight")
        }


def hidden_states(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    position_ids: torch.Tensor,
    patches: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the last hidden states of a batch of `finetune.tiny.data.collate`.

    Returns:
        (rows, length, hidden).
    """
    embeddings = model.get_input_embeddings()(input_ids)
    decoder, positions = model.model, position_ids[0]
    if hasattr(model.model, "visual"):
        decoder, positions = model.model.language_model, position_ids
    if patches is not None:
        visual_tokens = encode_frames(model.model.visual, patches)
        embeddings = embeddings.masked_scatter((input_ids == model.config.image_token_id).unsqueeze(-1), visual_tokens)
    return decoder(
        inputs_embeds=embeddings, attention_mask=attention_mask, position_ids=positions, use_cache=False
    ).last_hidden_state


def token_loss(model: PreTrainedModel, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of the labelled tokens; no other logits are computed."""
    labels, hidden = labels[:, 1:], hidden[:, :-1]
    labelled = labels != -100
    return functional.cross_entropy(model.lm_head(hidden[labelled]), labels[labelled])


def encode_frames(tower: Any, patches: torch.Tensor) -> torch.Tensor:
    """Encode frames of equal size.

    Args:
        tower: the vision tower.
        patches: (frames, patches, 588), see `finetune.tiny.data.to_patches`.

    Returns:
        Visual tokens, (frames * tokens, hidden).
    """
    count, length, _ = patches.shape
    kernel = tower.patch_embed.proj.weight.sum(dim=2).flatten(1)  # an image fills both time slots: (w0 + w1) x
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
    """Return the row and column of each patch, (length, 2), in the order of two-by-two blocks."""
    half = int(length**0.5) // 2
    rows, columns = torch.meshgrid(torch.arange(2 * half, device=device), torch.arange(2 * half, device=device), indexing="ij")
    both = torch.stack([rows, columns], dim=-1).view(half, 2, half, 2, 2).transpose(1, 2)
    return both.reshape(length, 2)
