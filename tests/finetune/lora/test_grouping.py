"""The order of rows: like lengths together, everything once, the same again for the same seed."""

from pathlib import Path

import pytest

import espresso
from espresso.models.processor import Reader
from finetune.config import World
from finetune.lora.collate import Collator, Row
from finetune.lora.examples import load
from finetune.lora.grouping import Grouped, length

BATCH = 16
TINY = Path(espresso.__file__).parent / "profiles" / "tiny" / "vlm"


@pytest.fixture(scope="module")
def rows():
    return [Row(example) for example in load(World(format="world", count=200)).examples]


def test_every_row_comes_once_an_epoch_and_epochs_differ(rows):
    order = Grouped([length(row, 112) for row in rows], BATCH, seed=3)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    assert sorted(first) == sorted(second) == list(range(len(rows))) == list(range(len(order)))
    assert first != second


def test_the_same_seed_gives_the_same_order_and_the_epoch_is_not_forgotten(rows):
    lengths = [length(row, 112) for row in rows]
    one, other = Grouped(lengths, BATCH, seed=3), Grouped(lengths, BATCH, seed=3)
    list(one)
    one.set_epoch(1)
    other.set_epoch(1)
    assert list(one) == list(other)
    assert list(Grouped(lengths, BATCH, seed=4)) != list(Grouped(lengths, BATCH, seed=3))


def test_what_is_left_over_comes_last_so_that_batches_stay_whole():
    order = list(Grouped([float(number % 5) for number in range(37)], 8, seed=0))
    batches = [order[start : start + 8] for start in range(0, 37, 8)]
    assert [len(batch) for batch in batches] == [8, 8, 8, 8, 5]
    assert all(max(n % 5 for n in batch) - min(n % 5 for n in batch) <= 1 for batch in batches)


def test_batches_hold_little_padding(rows):
    collate = Collator(Reader(str(TINY), sees=True), style="tiny", size=112, max_length=1024)
    order = list(Grouped([length(row, 112) for row in rows], BATCH, seed=0))

    def padding(order):
        masks = [
            collate([{"row": rows[number]} for number in order[start : start + BATCH]])["attention_mask"]
            for start in range(0, len(order), BATCH)
        ]
        return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    assert padding(order) < padding(range(len(rows))) / 2
