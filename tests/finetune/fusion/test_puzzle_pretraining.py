"""Batches of pictures of puzzles: marks, and values at places and at names."""

from dataclasses import replace

import pytest
import torch

from finetune.frames import FrameReader
from finetune.fusion.build import build_pretraining, build_processor
from finetune.fusion.config import Architecture, FusionTraining, MiniatureEncoders, PretrainConfig
from finetune.fusion.puzzle_pretraining import NO_VALUE, VALUE_WORDS, PuzzleBatches, _tokens
from finetune.puzzle_pictures import pictures


@pytest.fixture(scope="module")
def some():
    return pictures("train", 1)


@pytest.fixture(scope="module")
def batches(some):
    processor = build_processor(MiniatureEncoders(image_size=32, words="smart101"))
    return PuzzleBatches(some, 4, 8, 0, processor, FrameReader(1, 32))


def shown(batch, batches):
    """The picture of each row, found by its pixels."""
    pixels = {
        batches.processor.visuals([batches.reader.read(each.visual)])["pixel_values"].sum().item(): each
        for each in batches.pictures
    }
    return [pixels[each.sum().item()] for each in batch["pixel_values"]]


def test_each_name_says_the_value_of_its_thing_in_the_question_too(batches):
    tokens, batch = batches.processor.tokens, batches[0]
    asked = 0
    for number, picture in enumerate(shown(batch, batches)):
        ids = batch["input_ids"][number].tolist()
        assert not {*ids} & {tokens.mask_token_id, tokens.unk_token_id}
        facts = [(tokens(name).input_ids[1:-1], tokens(value).input_ids[1:-1]) for name, value in picture.facts.items()]
        said = {}
        for _, position, place, token in batch["named_values"][batch["named_values"][:, 0] == number].tolist():
            said.setdefault(position, []).append(token)
            assert len(said[position]) == place + 1
        for position, words in said.items():
            (name,) = {tuple(name) for name, _ in facts if ids[position + 1 - len(name) : position + 1] == name}
            assert words in [value[:VALUE_WORDS] for other, value in facts if tuple(other) == name]
        question = len(tokens.tokenize(picture.question))
        listed = sorted(position for position in said if position > question)
        assert len(listed) == len(facts)
        asked += len(said) - len(listed)
        assert all(ids[position] != tokens.convert_tokens_to_ids("a") for position in said if position <= question)
    assert asked


def test_the_other_tokens_say_that_they_have_no_value(batches):
    batch = batches[0]
    named = {tuple(each[:2]) for each in batch["named_values"].tolist()}
    others = {*map(tuple, batch["other_tokens"].tolist())}
    assert named | others == {*map(tuple, batch["attention_mask"].nonzero().tolist())}
    assert not named & others
    assert NO_VALUE not in batch["named_values"][:, 3]


def test_marks_and_values_are_those_of_their_picture(batches):
    tokens, batch = batches.processor.tokens, batches[0]
    for number, picture in enumerate(shown(batch, batches)):
        own = batch["marks"][:, 0] == number
        words = tokens.convert_ids_to_tokens(batch["marks"][own, 1].tolist())
        assert words == [mark.word for mark in picture.marks]
        assert tokens.unk_token not in words
        places = torch.tensor([(mark.x, mark.y) for mark in picture.marks if mark.word in picture.facts])
        found = batch["value_places"][batch["values"][:, 0] == number]
        assert {*map(tuple, found.tolist())} == {*map(tuple, places.tolist())}
    assert all((batches[0][name] == value).all() for name, value in batch.items())


@pytest.mark.parametrize("extra", [0, 1])
def test_a_place_is_seen_by_the_token_of_its_cell(extra):
    visual = torch.zeros(1, 16 + extra, 8)
    places = torch.tensor([[0.0, 0.0], [0.99, 0.0], [0.3, 0.6], [1.0, 1.0]])
    assert _tokens(places, visual).tolist() == [extra, extra + 3, extra + 9, extra + 15]


@pytest.mark.parametrize("vision", ["vit", "resnet"])
def test_the_losses_reach_both_encoders(batches, vision):
    config = FusionTraining(
        encoders=MiniatureEncoders(image_size=32, vision=vision, patch=8, vision_layers=1, text_layers=1, words="smart101"),
        architecture=Architecture(hidden=32, heads=2, feed_forward=64, layers=1),
        pretrain=PretrainConfig(data=[{"format": "smart101", "rows": 1}], epochs=1, batch=8, learning_rate=1e-3),
        output="unused",
    )
    model = build_pretraining(config, batches.processor)
    output = model(**batches[0])
    output["loss"].backward()
    for encoder in (model.fusion.vision, model.fusion.text):
        assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in encoder.parameters())
    assert model.fusion.encode_visuals(**{name: batches[0][name] for name in ("pixel_values", "frames")})[0].shape[1] == 16 + (
        vision == "vit"
    )


def test_a_picture_without_facts_has_a_loss(batches):
    config = FusionTraining(
        encoders=MiniatureEncoders(image_size=32, patch=8, vision_layers=1, text_layers=1, words="smart101"),
        architecture=Architecture(hidden=32, heads=2, feed_forward=64, layers=1),
        pretrain=PretrainConfig(data=[{"format": "smart101", "rows": 1}], epochs=1, batch=1, learning_rate=1e-3),
        output="unused",
    )
    bare = [replace(batches.pictures[0], facts={})]
    batch = PuzzleBatches(bare, 1, 1, 0, batches.processor, batches.reader)[0]
    output = build_pretraining(config, batches.processor)(**batch)
    assert output["loss"].isfinite()
    assert output["values"] == 0


def test_a_model_learns_which_thing_has_which_value(some):
    torch.manual_seed(0)
    processor = build_processor(MiniatureEncoders(image_size=56, words="smart101"))
    config = FusionTraining(
        encoders=MiniatureEncoders(image_size=56, vision="resnet", patch=8, vision_layers=1, text_layers=1, words="smart101"),
        architecture=Architecture(hidden=32, heads=2, feed_forward=64, layers=1),
        pretrain=PretrainConfig(data=[{"format": "smart101", "rows": 1}], epochs=1, batch=8, learning_rate=1e-3),
        output="unused",
    )
    batches = PuzzleBatches(some[:2], 120, 2, 0, processor, FrameReader(1, 56))
    model = build_pretraining(config, processor)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    values = []
    for number in range(120):
        output = model(**batches[number])
        optimizer.zero_grad()
        output["loss"].backward()
        optimizer.step()
        values.append(output["values"].item())
    assert values[-1] < 0.2 < values[0]
