"""Detectors find boxes inside the picture; verifiers rate labels; a broken model is named.

The models have the public architectures at a small size and random weights.
"""

import json

import numpy as np
import pytest
import torch
import transformers as t
from PIL import Image

from espresso.errors import ModelError
from espresso.models.zero_shot import ObjectDetector, PictureClassifier
from espresso.profiles import ZeroShotClassifier, ZeroShotDetector

WORDS = ("a", "red", "square", "dog", "cat", "the", "on", "mat")
SIZES = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
LABELS = ["A red square", "the dog", "Cat"]


def clip_tokenizer(length):
    special = {"!": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}  # OWLv2 takes a text that starts with token 0 for padding
    symbols = map(chr, range(33, 0x180))
    tokenizer = t.CLIPTokenizer(vocab=special, pad_token="!")
    tokenizer = tokenizer.train_new_from_iterator([[*symbols, *WORDS]], 800, show_progress=False)
    tokenizer.model_max_length = length
    return tokenizer


def clip_configs(tokenizer, length, vision):
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    text = {**SIZES, "vocab_size": len(tokenizer), "max_position_embeddings": length, **special}
    return {"text_config": text, "vision_config": {**SIZES, **vision}, "projection_dim": 32}


def save_grounding_dino(folder):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *WORDS]
    tokenizer = t.BertTokenizer(vocab={word: index for index, word in enumerate(words)}, model_max_length=64)
    config = t.GroundingDinoConfig(
        backbone_config=t.SwinConfig(
            image_size=64, embed_dim=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, out_indices=[2, 3, 4]
        ),
        text_config=t.BertConfig(**SIZES, vocab_size=len(words), max_position_embeddings=64),
        num_queries=12,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
    )
    t.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = t.GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    t.GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)


def save_owlv2(folder):
    tokenizer = clip_tokenizer(16)
    model = t.Owlv2ForObjectDetection(t.Owlv2Config(**clip_configs(tokenizer, 16, {"image_size": 64, "patch_size": 8})))
    for layer in (model.box_head.dense2, model.class_head.logit_shift, model.class_head.logit_scale):
        torch.nn.init.normal_(layer.weight, std=0.001)  # boxes of about one patch, and scores between 0 and 1
        torch.nn.init.zeros_(layer.bias)
    model.save_pretrained(folder)
    t.Owlv2Processor(t.Owlv2ImageProcessor(size={"height": 64, "width": 64}), tokenizer).save_pretrained(folder)


def save_clip(folder):
    tokenizer = clip_tokenizer(20)
    t.CLIPModel(t.CLIPConfig(**clip_configs(tokenizer, 20, {"image_size": 32, "patch_size": 8}))).save_pretrained(folder)
    images = t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    t.CLIPProcessor(images, tokenizer).save_pretrained(folder)


def save_siglip(folder):
    import sentencepiece

    text = folder.parent / "words.txt"
    text.write_text("\n".join(f"{word} {other}" for word in WORDS for other in WORDS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "spiece"), vocab_size=40, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    tokenizer = t.SiglipTokenizer(str(folder / "spiece.model"), model_max_length=12, model_input_names=["input_ids"])
    size = {**SIZES, "vocab_size": len(tokenizer), "max_position_embeddings": 12}
    config = t.SiglipConfig(text_config=size, vision_config={**SIZES, "image_size": 32, "patch_size": 8})
    t.SiglipModel(config).save_pretrained(folder)
    t.SiglipProcessor(t.SiglipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folder of each model, by its family."""
    made = {}
    for save in (save_grounding_dino, save_owlv2, save_clip, save_siglip):
        torch.manual_seed(1)
        name = save.__name__.removeprefix("save_")
        made[name] = tmp_path_factory.mktemp("models") / name
        made[name].mkdir()
        save(made[name])
    return made


@pytest.fixture(params=["grounding_dino", "owlv2"])
def detector(request, folders):
    return open_detector(folders[request.param])


@pytest.fixture(params=["clip", "siglip"])
def verifier(request, folders):
    return open_verifier(folders[request.param])


def open_detector(folder, min_score=0.001):
    return ObjectDetector(ZeroShotDetector(backend="zero-shot-object-detection", model=str(folder), min_score=min_score))


def open_verifier(folder):
    return PictureClassifier(ZeroShotClassifier(backend="zero-shot-image-classification", model=str(folder)))


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(90, 160), (160, 90), (64, 64)], ids=str)
async def test_boxes_lie_inside_the_picture_one_for_each_label_in_order(detector, size):
    found = await detector.detect(picture(*size), LABELS)
    assert [each.label for each in found] == LABELS
    for each in found:
        x1, y1, x2, y2 = each.box
        assert 0 <= x1 < x2 <= size[1]
        assert 0 <= y1 < y2 <= size[0]
        assert 0 < each.score < 1


async def test_labels_below_the_minimum_score_are_left_out(folders):
    detector = open_detector(folders["owlv2"], min_score=0.999)
    assert await detector.detect(picture(60, 80), LABELS) == []
    assert await detector.detect(picture(60, 80), []) == []


async def test_a_label_gets_the_same_box_whatever_else_is_looked_for_and_however_it_is_written(detector):
    pixels = picture(90, 160)
    (alone,) = await detector.detect(pixels, ["the dog"])
    assert (await detector.detect(pixels, ["A red square", "the dog"]))[1] == alone
    (other,) = await detector.detect(pixels, ["The Dog."])
    assert (other.label, other.box) == ("The Dog.", alone.box)


async def test_a_label_with_dots_or_of_many_words_can_be_looked_for(detector):
    labels = ["a. red. cat", " ".join(["the red dog on the mat"] * 40)]
    assert [each.label for each in await detector.detect(picture(60, 80), labels)] == labels


async def test_grounding_dino_reads_a_label_in_lower_case_with_a_dot_at_the_end(folders):
    """The same scores as from the model itself, prompted as its documentation says."""
    folder = folders["grounding_dino"]
    pixels = picture(90, 160)
    (found,) = await open_detector(folder).detect(pixels, ["A Red Square"])
    processor, model = t.AutoProcessor.from_pretrained(folder), t.AutoModelForZeroShotObjectDetection.from_pretrained(folder)
    with torch.inference_mode():
        outputs = model(**processor(images=Image.fromarray(pixels), text="a red square.", return_tensors="pt"))
    assert found.score == pytest.approx(float(outputs.logits.sigmoid().max()), abs=1e-5)


async def test_owlv2_finds_the_same_boxes_in_a_picture_as_in_the_same_picture_padded_to_a_square(folders):
    detector = open_detector(folders["owlv2"])
    inside = 0
    for seed in range(4):
        pixels = picture(96, 160, seed)
        canvas = np.zeros((160, 160, 3), np.uint8)
        canvas[:96] = pixels
        (found,), (padded,) = await detector.detect(pixels, ["the dog"]), await detector.detect(canvas, ["the dog"])
        if padded.box[3] <= 96:
            inside += 1
            assert found.box == pytest.approx(padded.box, abs=0.01)
        assert found.box[3] <= 96
    assert inside


async def test_every_picture_gets_a_probability_of_each_label(verifier):
    pictures = [picture(20, 31), picture(300, 80, 1)]
    probabilities = await verifier.classify(pictures, LABELS)
    assert probabilities.shape == (2, 3)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert not np.allclose(probabilities[0], probabilities[1])


async def test_probabilities_follow_the_order_of_the_labels_and_do_not_depend_on_other_pictures(verifier):
    pixels = picture(20, 31)
    (first,) = await verifier.classify([pixels], LABELS)
    _, again = await verifier.classify([picture(50, 50, 1), pixels], LABELS[::-1])
    assert again == pytest.approx(first[::-1], abs=1e-5)


async def test_a_label_is_rated_the_same_next_to_a_longer_one(verifier):
    """SigLIP reads the padding of a text, so that all texts need the padding of its training."""
    pixels, long = picture(20, 31), "the red cat on the mat"
    ((dog, cat, _),) = await verifier.classify([pixels], ["the dog", "cat", long])
    ((alone, other),) = await verifier.classify([pixels], ["the dog", "cat"])
    assert dog / cat == pytest.approx(alone / other, rel=1e-4)


async def test_siglip_gets_texts_of_its_full_length(folders):
    folder, pixels = folders["siglip"], picture(20, 31)
    (found,) = await open_verifier(folder).classify([pixels], LABELS)
    processor, model = t.AutoProcessor.from_pretrained(folder), t.AutoModelForZeroShotImageClassification.from_pretrained(folder)
    inputs = processor(images=Image.fromarray(pixels), text=LABELS, padding="max_length", max_length=12, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**inputs).logits_per_image[0].softmax(-1)
    assert found == pytest.approx(expected.numpy(), abs=1e-5)


async def test_pictures_of_one_or_three_pixels_and_long_labels_are_rated(verifier):
    row = np.full((1, 40, 3), (255, 0, 0), np.uint8)
    three = np.full((3, 40, 3), (255, 0, 0), np.uint8)
    tall = np.full((40, 40, 3), (255, 0, 0), np.uint8)
    probabilities = await verifier.classify([row, three, tall, row[:, :1]], [" ".join(["the red dog"] * 40), "cat"])
    assert probabilities == pytest.approx(np.repeat(probabilities[:1], 4, axis=0), abs=1e-4)  # all are red all over


async def test_half_precision_weights_are_used_on_a_cpu(folders, tmp_path):
    t.Owlv2ForObjectDetection.from_pretrained(folders["owlv2"]).half().save_pretrained(tmp_path)
    t.AutoProcessor.from_pretrained(folders["owlv2"]).save_pretrained(tmp_path)
    assert len(await open_detector(tmp_path).detect(picture(60, 80), LABELS)) == len(LABELS)


async def test_a_closed_model_is_loaded_again(folders):
    verifier = open_verifier(folders["clip"])
    await verifier.load()
    first = await verifier.classify([picture(20, 20)], LABELS)
    verifier.close()
    assert np.array_equal(await verifier.classify([picture(20, 20)], LABELS), first)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text(json.dumps({"model_type": "bert"})),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x08" + bytes(40)),
        lambda folder: (folder / "processor_config.json").unlink(),
    ],
    ids=["no config", "cut config", "other model", "no weights", "damaged weights", "no processor"],
)
@pytest.mark.parametrize(("family", "section"), [("owlv2", "detector"), ("clip", "verifier")])
async def test_a_damaged_folder_is_named_with_the_section_of_the_profile(folders, tmp_path, family, section, damage):
    for file in folders[family].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damage(tmp_path)
    model = (open_detector if section == "detector" else open_verifier)(tmp_path)
    with pytest.raises(
        ModelError, match=rf"{tmp_path}: cannot load this model \(.+\)\. Name another one in \[{section}\]"
    ) as caught:
        await model.load()
    assert "\n" not in str(caught.value)
