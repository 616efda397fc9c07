"""Grounding examples: labels of one frame, and where their things are."""

import pytest

from agents.grounding import read_boxes
from espresso import world
from espresso.datasets import Example, VideoFrame
from espresso.errors import DataError
from espresso.models.processor import ChatProcessor
from finetune.lora.collate import ConversationCollator, TrainingRow
from finetune.lora.config import World
from finetune.lora.examples import load
from finetune.lora.ground import grounding_examples


@pytest.fixture(scope="module")
def examples():
    return grounding_examples(load(World(format="world", count=200)).examples, seed=0)


def test_boxes_are_those_of_the_things_in_the_frame(examples):
    for example in examples:
        (frame,) = example.frames
        visible = {str(each.thing): each.box(1000) for each in world.sprites(world.story(frame.split, frame.index), frame.time)}
        labels = example.question.split(", ")
        found = {each.label: each.box for each in read_boxes(example.evidence, labels, 1000, 1000)}
        assert set(found) == {label for label in labels if label in visible}
        for label, box in found.items():
            assert box == pytest.approx(visible[label], abs=0.6)


def test_some_labels_are_not_in_the_frame(examples):
    assert 5 < sum(example.evidence == "none" for example in examples) < 80
    assert {len(example.question.split(", ")) for example in examples} == {1, 2, 3}


def test_a_row_shows_one_frame_and_asks_for_its_labels(examples, base):
    collate = ConversationCollator(ChatProcessor(str(base), vision=True), style="tiny", size=112, max_length=1024)
    row = TrainingRow(examples[0], grounding=True)
    (message,) = row.messages("tiny", 112)
    assert message.pictures == 1
    assert message.content[1] == f"ground {examples[0].question}"
    assert row.reply == examples[0].evidence
    assert (collate([{"row": row}])["labels"] != -100).any()


def test_frames_of_another_source_are_one_sentence():
    example = Example("a", "Who?", (VideoFrame("clip.mp4", 1.0),), "", "", where="data.jsonl, row 1")
    with pytest.raises(DataError, match=r"^data.jsonl, row 1: grounding is learned from the world only"):
        grounding_examples([example], seed=0)
