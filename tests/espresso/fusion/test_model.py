"""The fusion models: what a row's score depends on, and how weights move between heads."""

import pytest
import torch
from transformers import BertConfig, BridgeTowerConfig, CLIPVisionConfig, RobertaConfig, SiglipVisionConfig, ViltConfig, ViTConfig

from espresso.fusion.config import FusionConfig
from espresso.fusion.model import BackboneForPairs, FusionForPairs, FusionModel, pair_model

SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
PICTURE = {"image_size": 16, "patch_size": 8}
VISION = {"vit": ViTConfig, "clip": CLIPVisionConfig, "siglip": SiglipVisionConfig}
TEXT = {"bert": BertConfig, "roberta": RobertaConfig}
LAYERS = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "cross_layers": 1, "initializer_range": 0.5}


def config(vision="vit", text="bert", **options):
    return FusionConfig(
        vision_config=VISION[vision](**SIZE, **PICTURE).to_dict(),
        text_config=TEXT[text](vocab_size=50, max_position_embeddings=40, **SIZE).to_dict(),
        **LAYERS | options,
    )


def batch(rows=3):
    """Rows about an image and a video of three frames; the texts have several lengths."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 50, (rows, 6), generator=generator)
    mask = torch.ones_like(ids)
    ids[0, 4:], mask[0, 4:] = 1, 0
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "pixel_values": torch.randn(4, 3, 16, 16, generator=generator),
        "frames": torch.tensor([[0, -1, -1], [1, 2, 3]]),
        "pairs": torch.tensor([[0, 1]] * rows),
    }


def model(settings):
    torch.manual_seed(0)
    return pair_model(settings)(settings).eval()


@pytest.fixture(params=["late", "mid", "early"])
def fusion(request):
    return request.param


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("text", TEXT)
def test_every_pair_of_encoders_gives_a_score_per_row(vision, text):
    output = model(config(vision, text))(**batch(), labels=torch.tensor([1.0, 0.0, 1.0]))
    assert output.logits.shape == (3,)
    assert output.loss.isfinite()


def test_a_row_scores_the_same_alone_and_padded_in_a_batch(fusion):
    classifier, rows = model(config(fusion=fusion)), batch()
    with torch.no_grad():
        together = classifier(**rows).logits
        alone = classifier(
            **rows
            | {
                "input_ids": rows["input_ids"][:1, :4],
                "attention_mask": rows["attention_mask"][:1, :4],
                "pairs": rows["pairs"][:1],
            }
        ).logits
    torch.testing.assert_close(alone, together[:1], atol=1e-5, rtol=1e-4)


def test_an_image_beside_a_video_scores_as_without_padding(fusion):
    classifier, rows = model(config(fusion=fusion)), batch()
    rows["pairs"] = torch.tensor([[0, 0]] * 3)
    with torch.no_grad():
        padded = classifier(**rows).logits
        tight = classifier(**rows | {"frames": torch.tensor([[0]])}).logits
    torch.testing.assert_close(padded, tight, atol=1e-5, rtol=1e-4)


def test_the_order_of_visuals_and_of_frames_counts(fusion):
    classifier, rows = model(config(fusion=fusion)), batch()
    torch.nn.init.normal_(classifier.fusion.visual_id.weight)
    with torch.no_grad():
        forward = classifier(**rows).logits
        swapped = classifier(**rows | {"pairs": rows["pairs"].flip(1)}).logits
        backwards = classifier(**rows | {"frames": torch.tensor([[0, -1, -1], [3, 2, 1]])}).logits
    assert not torch.allclose(forward, swapped, atol=1e-5)
    assert not torch.allclose(forward, backwards, atol=1e-5)


def test_a_visual_of_several_rows_is_encoded_once():
    classifier, rows = model(config()), batch()
    copies = {
        "pixel_values": rows["pixel_values"].repeat(3, 1, 1, 1),
        "frames": torch.cat([rows["frames"].where(rows["frames"] < 0, rows["frames"] + 4 * row) for row in range(3)]),
        "pairs": torch.tensor([[0, 1], [2, 3], [4, 5]]),
    }
    with torch.no_grad():
        torch.testing.assert_close(classifier(**rows).logits, classifier(**rows | copies).logits, atol=1e-5, rtol=1e-4)


def test_pre_trained_weights_start_a_classifier_of_any_fusion(tmp_path, fusion):
    torch.manual_seed(1)
    FusionModel(config()).save_pretrained(tmp_path)
    started = FusionForPairs.from_pretrained(tmp_path, fusion=fusion)
    assert started.config.fusion == fusion
    trained = FusionModel.from_pretrained(tmp_path).state_dict()
    for name, weight in started.fusion.state_dict().items():
        assert torch.equal(weight, trained[name]), name


def test_a_saved_classifier_gives_the_same_scores(tmp_path, fusion):
    classifier, rows = model(config(fusion=fusion)), batch()
    classifier.save_pretrained(tmp_path)
    loaded = FusionForPairs.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(classifier(**rows).logits, loaded(**rows).logits)


@pytest.mark.parametrize("how", ["late", "mid"])
@pytest.mark.parametrize("name", ["vilt", "bridgetower"])
def test_complete_backbones_score_pairs(tmp_path, name, how):
    if name == "vilt":
        backbone = ViltConfig(vocab_size=50, **SIZE, **PICTURE)
    else:
        backbone = BridgeTowerConfig(
            vision_config={"hidden_size": 64, "num_hidden_layers": 2, "patch_size": 8, "image_size": 16},
            text_config={"vocab_size": 50, **SIZE, "num_hidden_layers": 2, "max_position_embeddings": 40},
            hidden_size=16, num_attention_heads=2, num_hidden_layers=1,
        )  # fmt: skip
    classifier, rows = model(FusionConfig(backbone_config=backbone.to_dict(), **LAYERS | {"fusion": how})), batch()
    assert isinstance(classifier, BackboneForPairs)
    with torch.no_grad():
        logits = classifier(**rows).logits
        tight = classifier(**rows | {"frames": torch.tensor([[0], [1]])}).logits
    assert logits.shape == (3,)
    assert not torch.allclose(logits, tight)  # the second and third frame of the video count
    classifier.save_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(BackboneForPairs.from_pretrained(tmp_path).eval()(**rows).logits, logits)


def test_a_configuration_without_encoders_or_with_early_fusion_of_a_backbone_is_refused():
    with pytest.raises(Exception, match="vision_config and text_config, or backbone_config"):
        FusionConfig(**LAYERS)
    with pytest.raises(Exception, match="early fusion"):
        FusionConfig(backbone_config=ViltConfig(**SIZE, **PICTURE).to_dict(), **LAYERS | {"fusion": "early"})
