"""Captions: those of the world, and the situations in real ones."""

import json
import random

import pytest
from spacy.tokens import Doc
from spacy.vocab import Vocab

from espresso.datasets.raiv import world
from espresso.datasets.raiv.situations import VisualReference
from espresso.errors import DataError
from finetune.fusion import captions

VISUAL = VisualReference(path="1.jpg", kind="image")


def parsed(text, heads, deps, tags, lemmas=None):
    """A caption with a given parse, as a spaCy pipeline returns it."""
    words = text.split()
    return Doc(Vocab(), words=words, heads=heads, deps=deps, pos=tags, lemmas=lemmas or words)


RIDING = parsed(
    "a man riding horses on the beach",
    [1, 1, 1, 2, 2, 6, 4],
    ["det", "ROOT", "acl", "dobj", "prep", "det", "pobj"],
    ["DET", "NOUN", "VERB", "NOUN", "ADP", "DET", "NOUN"],
    ["a", "man", "ride", "horse", "on", "the", "beach"],
)
SKY = parsed("a blue sky", [2, 2, 2], ["det", "amod", "ROOT"], ["DET", "ADJ", "NOUN"])


def test_verb_roles_and_objects_are_found_in_a_parse():
    found = captions.situation("1", VISUAL, [SKY, RIDING])
    assert found.verb == "riding"
    assert found.roles == {"agent": "man", "target": "horse", "on": "beach"}
    assert found.objects == ("beach", "horse", "man", "sky")


def test_captions_without_a_verb_give_no_situation():
    assert captions.situation("1", VISUAL, [SKY]) is None


def test_a_world_caption_says_who_does_what_or_some_of_what_is_visible():
    situations = world.read(("image",), {"train": 30}).situations
    rng, acts = random.Random(0), 0
    for each in situations:
        text = captions.describe(each, rng).removeprefix("the picture shows ").removesuffix(" can be seen")
        first, *others = text.split(", ")
        if each.verb in first:
            acts += 1
            assert all(noun in first for noun in (each.roles.get("agent", ""), each.roles.get("target", "")))
        else:
            others.append(first)
        assert all(other.removeprefix("a ").removeprefix("an ") in each.objects for other in others)
    assert 0.4 < acts / len(situations) < 0.8


def test_captions_of_a_picture_differ():
    situation = world.read(("image",), {"train": 1}).situations[0]
    assert len({captions.describe(situation, random.Random(seed)) for seed in range(20)}) > 10


def test_a_missing_pipeline_is_reported_with_the_command_that_installs_it(tmp_path):
    file = tmp_path / "captions.jsonl"
    file.write_text(json.dumps({"visual": VISUAL.model_dump(), "captions": ["a man rides"]}))
    with pytest.raises(DataError, match="python -m spacy download no_such_pipeline"):
        captions.load(file, "no_such_pipeline")


def test_rows_that_cannot_be_read_are_left_out_and_counted(tmp_path, caplog):
    """A blank pipeline parses nothing, so no caption has a verb; the bad row is reported."""
    file = tmp_path / "captions.jsonl"
    file.write_text('{"visual": {"path": "1.jpg", "kind": "image"}, "captions": ["a man rides"]}\n{"captions": ["a dog"]}\n')
    (read,) = captions._read(file)
    assert read.captions == ("a man rides",)
    assert "1 rows are left out" in caplog.text
    assert "captions.jsonl, row 2" in caplog.text
