"""The stage places: the vision tower learns to read pictures of puzzles."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from espresso.datasets.smart101.evidence import said
from espresso.errors import DataError, ModelError
from espresso.models.chat import Message, Picture
from espresso.models.processor import ChatProcessor
from espresso.profiles.weights import weights_digest
from finetune.frames import FrameReader
from finetune.lora.places import VALUE_TOKENS, PlaceCollator, PlaceReader, patches_at, train_places
from finetune.lora.stages import train_stage
from finetune.lora.train import load_model
from finetune.provenance import read_provenance
from finetune.puzzle_pictures import pictures

PLACES = {
    "data": [{"format": "smart101", "count": 8}],
    "held_out": [],
    "lora": {"rank": 4, "vision": True},
    "places": {"learning_rate": 2e-3, "rows": 1, "held_out": 1},
}


@pytest.fixture(scope="module")
def processor(base):
    return ChatProcessor(str(base), vision=True)


@pytest.fixture(scope="module")
def some():
    return pictures("train", 1)


@pytest.fixture(scope="module")
def collate(processor, some):
    return PlaceCollator(processor, FrameReader(1, 112), some)


@pytest.fixture(scope="module")
def trained(make_config, tmp_path_factory):
    """A configuration and the provenance of its stage places, trained for two steps."""
    config = make_config(tmp_path_factory.mktemp("places"), **PLACES)
    return config, train_places(config, steps=2)


def test_a_place_is_seen_by_the_patch_that_the_processor_cuts_there(processor):
    for row, column in ((0, 0), (3, 6), (5, 2), (7, 7)):
        pixels = np.zeros((112, 112, 3), np.uint8)
        pixels[14 * row : 14 * row + 14, 14 * column : 14 * column + 14] = 255
        messages = (Message("user", (Picture(pixels),)),)
        inputs = processor.prepare([processor.render(messages)], [messages])
        bright = inputs["pixel_values"].mean(1).argmax()
        assert patches_at(torch.tensor([[(column + 0.5) / 8, (row + 0.5) / 8]]), 8, 8, 2) == bright
    assert patches_at(torch.tensor([[1.0, 1.0]]), 8, 8, 2) == 63


def test_marks_and_values_are_those_of_their_picture(collate, some):
    batch = collate([{"row": each} for each in some])
    assert batch["image_grid_thw"].tolist() == len(some) * [[1, 8, 8]]
    marks = list(collate.marks)
    for number, picture in enumerate(some):
        own = batch["marks"][:, 0] == number
        assert [marks[word] for word in batch["marks"][own, 1].tolist()] == [mark.word for mark in picture.marks]
        places = [(mark.x, mark.y) for mark in picture.marks]
        assert torch.allclose(batch["mark_places"][own], torch.tensor(places))
        said = [
            (mark, place, token) for mark, value in picture.values_at_marks() for place, token in enumerate(collate.tokens(value))
        ]
        own = batch["values"][:, 0] == number
        assert [tuple(each) for each in batch["values"][own, 1:].tolist()] == [each[1:] for each in said]
        assert torch.allclose(batch["value_places"][own], torch.tensor([(mark.x, mark.y) for mark, *_ in said]).reshape(-1, 2))


@pytest.mark.parametrize(
    ("value", "tokens"), [("3", ["3"]), ("14", ["1", "4"]), ("-2", ["-", "2"]), ("1 2", ["1", "2"]), ("s", ["Ġs"])]
)
def test_a_value_is_said_in_the_tokens_of_evidence(collate, value, tokens):
    spoken = collate.processor.tokenizer
    assert spoken.convert_ids_to_tokens(collate.tokens(value)) == tokens
    evidence = collate.processor.encode(f"shown: {said('blue', value)}.")
    assert [token for token in evidence if token in collate.tokens(value)] == collate.tokens(value)
    assert spoken.convert_ids_to_tokens(evidence)[4] == "Ġblue"
    assert evidence[5] == collate.tokens(value)[0], "predicted at the name"
    assert len(collate.tokens("1 2 3 4 5 6")) == VALUE_TOKENS


def test_unknown_words_are_left_out(processor, some):
    batch = PlaceCollator(processor, FrameReader(1, 112), some[:1])([{"row": some[1]}])
    known = {mark.word for mark in some[0].marks}
    assert 0 < len(batch["marks"]) == sum(mark.word in known for mark in some[1].marks) < len(some[1].marks)


def test_the_tower_learns_to_read_and_nothing_else_is_trained(make_config, base, collate, some, tmp_path):
    torch.manual_seed(0)
    model = load_model(make_config(tmp_path, **PLACES), str(base), None)
    reader = PlaceReader(model, len(collate.marks))
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained
    assert all(".visual." in name and "lora_" in name for name in trained)
    assert any("patch_embed" in name for name in trained)
    batch = collate([{"row": each} for each in some[:2]])
    optimizer = torch.optim.AdamW([weight for weight in reader.parameters() if weight.requires_grad], lr=5e-3)
    losses = []
    for _ in range(60):
        output = reader(**batch)
        optimizer.zero_grad()
        output["loss"].backward()
        optimizer.step()
        losses.append(output["loss"].item())
    assert losses[-1] < losses[0] / 10
    assert (output["value_logits"].argmax(-1) == batch["values"][:, 2]).float().mean() > 0.6  # a token may see two things


def test_a_batch_without_values_has_a_loss(make_config, base, collate, some, tmp_path):
    reader = PlaceReader(load_model(make_config(tmp_path, **PLACES), str(base), None), len(collate.marks))
    batch = collate([{"row": some[0]}])
    empty = batch | {"values": batch["values"][:0], "value_places": batch["value_places"][:0]}
    assert reader(**empty)["loss"].isfinite()


def test_the_adapter_has_a_part_in_the_tower_only(trained):
    config, result = trained
    assert read_provenance(config.output / "places") == result
    assert (result.stage, result.steps, result.rows, result.changed) == ("places", 2, 31, None)
    assert 0 < result.after["marks"] < 1
    assert 0 <= result.after["values"] < 1
    weights = load_file(config.output / "places" / "adapter_model.safetensors")
    changed = {name for name, weight in weights.items() if "lora_B" in name and weight.any()}
    assert changed == {name for name in weights if "lora_B" in name and ".visual." in name}
    assert {each.name for each in (config.output / "places").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "lineage.json",
    }  # fmt: skip


def test_the_same_command_again_takes_no_further_step(trained):
    config, result = trained
    again = train_places(config, steps=2)
    assert (again.steps, again.after) == (2, pytest.approx(result.after))


def test_the_pictures_are_those_of_the_chosen_puzzles(make_config, tmp_path):
    config = make_config(tmp_path, **PLACES | {"places": PLACES["places"] | {"puzzles": [2, 62], "rows": 3}})
    assert train_places(config, steps=1).rows == 6


def test_the_evidence_continues_from_it(trained):
    config, _ = trained
    before = load_file(config.output / "places" / "adapter_model.safetensors")
    provenance, _ = train_stage(config, "evidence", steps=3)
    assert provenance.start_digest == weights_digest(config.output / "places")
    assert provenance.merged == 1.0
    after = load_file(config.output / "evidence" / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name, weight in before.items() if not torch.equal(after[name], weight)}
    assert changed == {name for name in before if ".visual." not in name}


def test_what_cannot_be_trained_is_named(make_config, tmp_path):
    with pytest.raises(DataError, match="this config has no section 'places'"):
        train_places(make_config(tmp_path))
    with pytest.raises(DataError, match=r"no trained adapter found\. Run `espresso finetune places`"):
        train_stage(make_config(tmp_path, **PLACES), "evidence", steps=1)
    with pytest.raises(ModelError, match=r"no part in the vision tower\. Set `vision: true`"):
        train_places(make_config(tmp_path, **PLACES | {"lora": {"rank": 4}}), steps=1)
