"""New models: which layers they have, and how their weights begin."""

from pathlib import Path

import pytest

from finetune.fusion.build import build_pretraining, build_processor
from finetune.fusion.config import Architecture, FusionTraining, MiniatureEncoders, PretrainConfig

PUZZLES = {"format": "smart101", "rows": 1}
STORIES = {"format": "world", "stories": 1}


def pretraining(data, **architecture):
    """A model to pre-train, 32 wide."""
    config = FusionTraining(
        encoders=MiniatureEncoders(image_size=32, patch=16, vision_layers=1, text_layers=1),
        architecture=Architecture(hidden=32, heads=2, feed_forward=64, layers=2, **architecture),
        output=Path("checkpoints"),
        pretrain=PretrainConfig(data=(data,), epochs=1, batch=8, learning_rate=1e-3),
    )
    return build_pretraining(config, build_processor(config.encoders))


@pytest.mark.parametrize("wanted", [0.02, 0.1])
def test_new_weights_of_all_parts_have_the_standard_deviation_of_the_configuration(wanted):
    model = pretraining(STORIES, initializer_range=wanted).fusion
    attention = model.vision.layers[0].attention
    for weight in (
        attention.q_proj.weight,
        model.text.encoder.layer[0].intermediate.dense.weight,
        model.vision_projection.weight,
        model.visual_layers[0].linear1.weight,
    ):
        assert weight.std().item() == pytest.approx(wanted, rel=0.15)


@pytest.mark.parametrize(("data", "visual"), [(STORIES, 2), (PUZZLES, 0)])
def test_pretraining_on_puzzles_has_the_layers_in_which_a_text_reads(data, visual):
    model = pretraining(data).fusion
    assert (len(model.text_layers), len(model.visual_layers)) == (2, visual)
