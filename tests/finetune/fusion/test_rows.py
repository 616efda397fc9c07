"""Rows of pairs, and pairs that are mined while a training runs."""

import random
from collections import Counter

import pytest

from espresso.datasets.raiv import is_true, world
from espresso.datasets.raiv.pairs import mine
from finetune.frames import FrameReader
from finetune.fusion.build import build_processor
from finetune.fusion.config import MiniatureEncoders, TspConfig
from finetune.fusion.rows import MinedBatches, RowCollator, reasons, statements


@pytest.fixture(scope="module")
def situations():
    return world.read(("image", "video"), {"train": 12}).situations


@pytest.fixture(scope="module")
def collate():
    return RowCollator(build_processor(MiniatureEncoders(image_size=32)), FrameReader(4, 32))


def by_visual(situations):
    return {each.visual: each for each in situations}


@pytest.mark.parametrize("kind", ["im-im", "im-vid", "vid-vid"])
def test_mined_statements_are_as_often_true_as_false_and_share_an_object(situations, kind):
    mined, known = mine(kind, situations, 60, random.Random(0)), by_visual(situations)
    assert len(mined) >= 40
    counts = Counter((pair.statement, pair.label) for pair in mined)
    assert all(counts[statement, True] == counts[statement, False] for statement, _ in counts)
    for pair in mined:
        first, second = (known[visual] for visual in pair.visuals)
        assert is_true(pair.claim, first, second) is pair.label
        assert {*first.objects} & {*second.objects}
        assert [visual.kind for visual in pair.visuals] == [{"im": "image", "vid": "video"}[part] for part in kind.split("-")]


def test_random_mining_also_pairs_visuals_without_a_shared_object(situations):
    known = by_visual(situations)
    mined = mine("im-im", situations, 100, random.Random(0), share=False)
    alone = [pair for pair in mined if not {*known[pair.visuals[0]].objects} & {*known[pair.visuals[1]].objects}]
    assert alone


def test_each_batch_has_other_pairs_and_encodes_each_visual_once(situations, collate):
    config = TspConfig(data=[{"format": "world", "stories": 1}], epochs=1, batch=24, learning_rate=1e-3, visuals=30)
    batches = MinedBatches(situations, config, 40, 24, 0, collate)
    one, other = batches[0], batches[1]
    assert one["input_ids"].shape != other["input_ids"].shape or (one["input_ids"] != other["input_ids"]).any()
    assert len(one["labels"]) <= 24
    assert len(one["frames"]) <= 30
    assert one["pairs"].max() == len(one["frames"]) - 1
    again = MinedBatches(situations, config, 40, 24, 0, collate)[0]
    assert all((again[name] == value).all() for name, value in one.items())


def test_no_text_of_a_batch_gives_its_label_away(situations, collate):
    """Also with reasons, each batch has as many true rows as false ones, and so has each statement."""
    values = {"epochs": 1, "batch": 60, "learning_rate": 1e-3, "visuals": 60, "reasons": 0.5}
    config = TspConfig(data=[{"format": "world", "stories": 1}], **values)
    rows = []
    MinedBatches(situations, config, 8, 60, 0, rows.extend)[0]
    assert sum(row.label for row in rows) * 2 == len(rows)
    plain = Counter((row.text, row.label) for row in rows if "Why is it false?" not in row.text)
    assert all(plain[text, True] == plain[text, False] for text, _ in plain)
    assert 0 < len(rows) - sum(plain.values()) < len(rows)


def test_images_alone_give_pairs_of_images(situations, collate):
    values = {"epochs": 1, "batch": 16, "learning_rate": 1e-3, "visuals": 24, "kinds": ["im-im"]}
    batches = MinedBatches(situations, TspConfig(data=[{"format": "world", "stories": 1}], **values), 40, 16, 0, collate)
    assert all(batches[number]["frames"].shape[1] == 1 for number in (0, 9, 17))


def test_rows_of_the_reasoning_task_have_one_right_reason_each(situations):
    mined = mine("vid-vid", situations, 80, random.Random(0))
    rows, false = reasons(mined), [pair for pair in mined if pair.reasons]
    assert len(rows) == 3 * len(false)
    assert sum(row.label for row in rows) == len(false)
    assert all(pair.statement in row.text for pair, row in zip(false, rows[::3], strict=True))
    assert [row.label for row in statements(mined)] == [pair.label for pair in mined]


def test_a_hidden_visual_is_the_same_black_picture_in_all_rows(situations, collate):
    rows = statements(mine("im-vid", situations, 12, random.Random(0)))
    for hidden, distinct in (([0], len({row.visuals[1] for row in rows})), ([0, 1], 0)):
        batch = RowCollator(collate.processor, collate.reader, hidden)(rows)
        assert len(batch["frames"]) == distinct + 1
        assert all(len({place.item() for place in batch["pairs"][:, side]}) == 1 for side in hidden)
        black = batch["pixel_values"][batch["frames"][batch["pairs"][0, 0], 0]]
        assert (black == black[:, :1, :1]).all()
