"""The training forward pass computes the loss of transformers."""

import numpy as np
import pytest
import torch

from finetune.tiny import build, data, forward


def test_the_training_loss_is_the_loss_of_transformers(make_tiny_config, tmp_path, processor):
    config = make_tiny_config(tmp_path)
    model = build.build_model(config, processor.tokenizer).eval()
    batch = data.VisionBatches(config, processor.tokenizer)._reports(np.random.default_rng(0), from_frames=True)
    count = len(batch["patches"])
    pixels = torch.cat([batch["patches"].view(-1, 3, 1, 14, 14)] * 2, dim=2).reshape(-1, 1176)
    with torch.no_grad():
        expected = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=batch["labels"],
            pixel_values=pixels,
            image_grid_thw=torch.tensor([[1, 8, 8]] * count),
            mm_token_type_ids=(batch["input_ids"] == model.config.image_token_id).int(),
        ).loss
        inputs = [batch[name] for name in ("input_ids", "attention_mask", "position_ids", "patches")]
        loss = forward.token_loss(model, forward.hidden_states(model, *inputs), batch["labels"])
    assert loss.item() == pytest.approx(expected.item(), abs=1e-4)
