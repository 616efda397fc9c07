"""Rows of similar length share a batch, in an order that seed and epoch determine."""

import pytest

from espresso.models.processor import ChatProcessor
from finetune.lora.collate import ConversationCollator, TrainingRow
from finetune.lora.config import World
from finetune.lora.examples import load
from finetune.lora.grouping import SeededLengthSampler, approximate_length

BATCH = 16


@pytest.fixture(scope="module")
def rows():
    return [TrainingRow(example) for example in load(World(format="world", count=400)).examples]


@pytest.fixture(scope="module")
def lengths(rows):
    return [approximate_length(row, 112) for row in rows]


def test_every_epoch_has_every_row_once_in_another_order(rows, lengths):
    sampler = SeededLengthSampler(lengths, BATCH, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(len(rows))) == list(range(len(sampler)))
    assert first != second


def test_the_order_depends_on_the_seed_and_the_epoch_alone(lengths):
    one, other = (SeededLengthSampler(lengths, BATCH, seed=3) for _ in range(2))
    list(one)  # a training that is resumed in the second epoch does not draw the first one
    one.set_epoch(1)
    other.set_epoch(1)
    assert list(one) == list(other) == list(other)
    assert list(SeededLengthSampler(lengths, BATCH, seed=4)) != list(SeededLengthSampler(lengths, BATCH, seed=3))


def test_batches_have_little_padding(base, rows, lengths):
    collate = ConversationCollator(ChatProcessor(str(base), vision=True), style="tiny", size=112, max_length=1024)

    tokens = [int(count) for row in rows for count in collate([{"row": row}])["attention_mask"].sum(1)]

    def padding(order):
        batches = [[tokens[index] for index in order[start : start + BATCH]] for start in range(0, len(order), BATCH)]
        return 1 - sum(tokens) / sum(max(batch) * len(batch) for batch in batches)

    assert padding(list(SeededLengthSampler(lengths, BATCH, seed=0))) < 0.75 * padding(range(len(rows)))
