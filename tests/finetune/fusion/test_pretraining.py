"""Batches of captioned images: masked words, and captions that match or do not."""

import random

import pytest
import torch
from torch.nn import functional

from espresso.datasets.raiv import world
from espresso.errors import DataError
from finetune.frames import FrameReader
from finetune.fusion.build import build_pretraining, build_processor
from finetune.fusion.config import Architecture, FusionTraining, MiniatureEncoders
from finetune.fusion.pretraining import IGNORE_INDEX, MASKED_TEXTS, CaptionBatches, draw_batch


@pytest.fixture(scope="module")
def situations():
    return world.read(("image",), {"train": 20}).situations


@pytest.fixture(scope="module")
def batches(situations):
    processor = build_processor(MiniatureEncoders(image_size=32))
    return CaptionBatches(situations, 8, 16, 0.3, 0, processor, FrameReader(1, 32))


def texts(batch, batches):
    ids = batch["input_ids"].clone()
    known = batch["labels"] != IGNORE_INDEX
    ids[known] = batch["labels"][known]
    return [batches.processor.tokens.decode(row[row != 0], skip_special_tokens=True) for row in ids]


def words_of(situation):
    return {word for text in (situation.verb, *situation.roles.values(), *situation.objects) for word in text.split()}


def shown(batch, batches, situations):
    """The situation of each text, found by its pixels."""
    known = {
        batches.processor.visuals([batches.reader.read(each.visual)])["pixel_values"].sum().item(): each for each in situations
    }
    pixels = batch["pixel_values"][batch["frames"][:, 0]]
    here = [known[each.sum().item()] for each in pixels]
    return [here[place] for place in batch["visual"]]


def test_each_image_has_masked_matching_and_other_captions(batches):
    batch = batches[0]
    rows = len(batch["frames"])
    assert batch["matches"].tolist() == [IGNORE_INDEX] * MASKED_TEXTS * rows + [1] * rows + [0] * rows
    masked = (batch["labels"] != IGNORE_INDEX).any(1)
    assert masked.tolist() == (batch["matches"] == IGNORE_INDEX).tolist()
    again = batches[0]
    assert all((again[name] == value).all() for name, value in batch.items())


def test_only_verbs_and_nouns_are_masked(batches, situations):
    tokens = batches.processor.tokens
    for number in range(4):
        batch = batches[number]
        for label, situation in zip(batch["labels"], shown(batch, batches, situations), strict=True):
            masked = {tokens.convert_ids_to_tokens(int(token)) for token in label if token != IGNORE_INDEX}
            assert masked <= words_of(situation) - {"a", "an", "the"}


def test_the_words_that_an_image_shows_are_wanted_of_it(batches, situations):
    tokens = batches.processor.tokens
    batch = batches[0]
    here = shown(batch, batches, situations)[: len(batch["frames"])]
    for row, situation in zip(batch["shown"], here, strict=True):
        assert {*tokens.convert_ids_to_tokens((row == 1).nonzero().flatten().tolist())} == words_of(situation)
        maybe = {word for text in situation.unsure for word in text.split()} - words_of(situation)
        assert {*tokens.convert_ids_to_tokens((row == IGNORE_INDEX).nonzero().flatten().tolist())} == maybe


def test_padding_of_a_visual_with_fewer_frames_does_not_change_what_is_seen(batches):
    config = FusionTraining(
        encoders=MiniatureEncoders(image_size=32, vision_layers=1, text_layers=1),
        architecture=Architecture(hidden=32, heads=2, feed_forward=64, layers=1),
        output="unused",
    )
    model = build_pretraining(config, batches.processor).eval()
    batch = batches[0]
    padded = {**batch, "frames": functional.pad(batch["frames"], (0, 1), value=-1)}
    with torch.inference_mode():
        assert model(**padded)["loss"].item() == pytest.approx(model(**batch)["loss"].item(), rel=1e-5)


def test_captions_that_do_not_match_say_what_is_not_there(batches, situations):
    """Also where another image of the same clip shows the same things."""
    for number in range(8):
        batch = batches[number]
        for text, match, situation in zip(
            texts(batch, batches), batch["matches"].tolist(), shown(batch, batches, situations), strict=True
        ):
            said = {noun for each in situations for noun in each.objects if noun in text}
            verbs = {each.verb for each in situations if each.verb in text}
            may_be = said <= {*situation.objects, *situation.roles.values(), *situation.unsure} and verbs <= {situation.verb}
            assert may_be or match == 0
            assert not may_be or match != 0


def test_images_of_a_clip_are_in_one_batch(situations):
    chosen = draw_batch(situations, 12, random.Random(0))
    paths = [each.visual.path for each in chosen]
    assert len({*paths}) <= 4
    assert len(chosen) == 12


def test_images_with_one_caption_are_refused(situations, batches):
    same = [situations[0]] * 8
    alone = CaptionBatches(same, 1, 8, 0.3, 0, batches.processor, batches.reader)
    with pytest.raises(DataError, match="captions of more different images"):
        alone[0]
