"""The tiny verifier: what its crops show, what it learns from them, and that it loads as a verifier."""

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from agents.grounding import SOMETHING_ELSE, verified
from espresso import world
from espresso.errors import DataError
from espresso.models.zero_shot import Detection, PictureClassifier
from espresso.profiles import ZeroShotClassifier
from espresso.world.cast import COLOURS, TEST_THINGS
from finetune.config import read_config
from finetune.tiny import clip
from finetune.tiny.config import TinyConfig
from finetune.tiny.train import train

SMALL = {"image_size": 32, "layers": 1, "verifier_batch": 24}


@pytest.fixture(scope="module")
def config(make_tiny_config, tmp_path_factory):
    return make_tiny_config(tmp_path_factory.mktemp("verifier"), "verifier", **SMALL)


@pytest.fixture(scope="module")
def processor(config):
    return clip.build_processor(config)


@pytest.fixture(scope="module")
def crops():
    """Crops of many stories of the train split."""
    rng = np.random.default_rng(0)
    return [each for index in range(60) for each in clip.draw_crops(rng, "train", index, 112)]


def test_each_word_of_a_name_is_one_token_and_any_text_can_be_encoded(processor):
    tokens = processor.tokenizer
    assert all(len(tokens.tokenize(text)) == len(text.split()) for text in clip.TEXTS)
    text = "Überraschung: 3 кота, 2 犬 and a 🙂"
    assert tokens.unk_token not in tokens.tokenize(text)
    assert len(tokens(text * 20, truncation=True)["input_ids"]) == clip.MAX_TOKENS


def test_crops_show_things_of_the_train_split_and_something_else(crops):
    things = {each.thing for each in crops}
    assert None in things
    assert {str(thing) for thing in things - {None}} <= set(clip.NAMES)
    assert not any(name == f"{colour} {shape}" for name in clip.NAMES for colour, shape in TEST_THINGS)


def test_a_crop_of_a_thing_has_its_colour_in_the_middle_and_one_of_something_else_does_not(crops):
    """The middle of a vehicle may be a window; a thing that hides has the wall in its middle."""
    rows = {True: [], False: []}
    for each in crops:
        height, width = each.pixels.shape[:2]
        middle = each.pixels[height // 3 : -(height // 3), width // 3 : -(width // 3)].reshape(-1, 3).astype(int)
        colours = [COLOURS[each.thing.colour]] if each.thing else list(COLOURS.values())[:5]  # black is also the ink
        near = [np.abs(middle - colour).max(axis=1) < 40 for colour in colours]
        rows[each.thing is not None].append(max(share.mean() for share in near) > 0.3)
    assert np.mean(rows[True]) > 0.9
    assert np.mean(rows[False]) < 0.2


def test_a_thing_is_not_shown_once_it_has_almost_left_the_frame():
    def shown(story, time):
        return {thing.shape for thing, _ in clip.visible_things(story, time, 112)}

    stories = [world.story("train", index) for index in range(60)]
    leaving = [(story, beat) for story in stories for beat in story.beats if beat.verb == "leaves"]
    assert not any(beat.doer.shape in shown(story, beat.end) for story, beat in leaving)
    starts = [beat.doer.shape in shown(story, beat.start) for story, beat in leaving]
    assert np.mean(starts) > 0.8  # the others are behind another thing


def test_a_jittered_box_stays_in_the_frame_and_moves_each_side_by_at_most_fifteen_percent():
    rng = np.random.default_rng(0)
    boxes = np.array([clip.jitter(rng, (1.0, 40.0, 21.0, 80.0), 112) for _ in range(200)])
    assert boxes.min() == 0
    shifts = np.abs(boxes - (1.0, 40.0, 21.0, 80.0)).max(axis=0)
    assert (shifts <= np.array([3, 6, 3, 6]) + 1e-6).all()
    assert (shifts > np.array([2.5, 5, 2.5, 5])).all()


def test_a_batch_holds_each_crop_with_its_name_colour_and_shape(config, processor):
    batch = clip.CropBatches(config, processor)[0]
    assert batch["pixel_values"].shape == (24, 3, 32, 32)
    assert len(batch["input_ids"]) == len(clip.TEXTS)
    for name, colour, shape in zip(batch["names"].tolist(), batch["colours"].tolist(), batch["shapes"].tolist(), strict=True):
        if name == len(clip.NAMES):
            assert (colour, shape) == (-100, -100)
        elif name == -100:  # in grayscale
            assert colour == -100
            assert shape >= 0
        else:
            assert clip.NAMES[name] == f"{list(COLOURS)[colour]} {clip.SHAPE_WORDS[shape]}"
    assert {*batch["names"].tolist()} >= {-100, len(clip.NAMES)}


def test_crops_in_grayscale_have_no_name(config, processor):
    batch = clip.CropBatches(config, processor)[0]
    std, mean = (torch.tensor(getattr(processor.image_processor, f"image_{name}")).view(1, 3, 1, 1) for name in ("std", "mean"))
    pixels = batch["pixel_values"] * std + mean
    gray = (pixels.amax(1) - pixels.amin(1)).amax(dim=(1, 2)) < 0.01
    assert gray[batch["names"] == -100].all()
    assert not gray[(batch["names"] >= 0) & (batch["colours"] >= 0) & (batch["colours"] != 5)].any()


def test_equal_seeds_give_equal_batches(config, processor):
    first, again, other = (clip.CropBatches(config, processor)[index]["pixel_values"] for index in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.fixture(scope="module")
def verifier(config):
    """A verifier after a short training."""
    folder = train(config.model_copy(update={"batches": 8, "save_every": 4}))
    return PictureClassifier(ZeroShotClassifier(backend="zero-shot-image-classification", model=str(folder)))


async def test_a_short_training_leaves_a_verifier(verifier, crops):
    probabilities = await verifier.classify([each.pixels for each in crops[:20]], ["red square", "the dog", SOMETHING_ELSE])
    assert probabilities.shape == (20, 3)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    kept = await verified(verifier, np.zeros((64, 64, 3), np.uint8), [Detection("red square", (1, 1, 30, 30))], ["red square"])
    assert len(kept) in (0, 1)


def test_training_lowers_the_loss(config, processor):
    torch.manual_seed(0)
    model = clip.TrainingModel(clip.build_model(config, processor.tokenizer))
    batch = clip.CropBatches(config, processor)[0]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(30):
        loss = model(**batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]


def test_a_resumed_training_starts_from_the_last_checkpoint(verifier, config):
    config = config.model_copy(update={"batches": 8, "save_every": 4})
    before = load_file(config.output / "model.safetensors")
    after = load_file(train(config) / "model.safetensors")  # no steps are left
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_training_continues_from_a_trained_verifier(verifier, config, make_tiny_config, tmp_path):
    start = load_file(config.output / "model.safetensors")
    more = make_tiny_config(tmp_path, "verifier", **SMALL, start=config.output, learning_rate=1e-9, batches=1)
    after = load_file(train(more) / "model.safetensors")
    assert all(torch.allclose(start[name], after[name], atol=1e-5) for name in start)


def test_a_verifier_has_no_tower_to_copy(tmp_path):
    path = tmp_path / "verifier.yaml"
    values = {"role": "verifier", "output": "a", "checkpoints": "b", "batches": 1, "learning_rate": 0.1, "tower": "c"}
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(DataError, match=r"tower: .*only the roles vlm and captioner copy a vision tower"):
        read_config(path, TinyConfig)
