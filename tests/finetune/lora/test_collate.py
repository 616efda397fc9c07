"""Rows as batches: the very prompt of inference, loss on the reply alone."""

from pathlib import Path

import pytest
import torch

import espresso
from espresso.errors import DataError
from espresso.models.processor import Reader
from finetune.config import World
from finetune.lora.collate import IGNORED, Collator, Row
from finetune.lora.examples import load

TINY = Path(espresso.__file__).parent / "profiles" / "tiny" / "vlm"


@pytest.fixture(scope="module")
def reader():
    return Reader(str(TINY), sees=True)


@pytest.fixture(scope="module")
def examples():
    return load(World(format="world", count=6)).examples


def collate(reader, rows, max_length=1024):
    return Collator(reader, style="tiny", size=112, max_length=max_length)([{"row": row} for row in rows])


@pytest.mark.parametrize("said", [None, "", "0.1s: red star hits blue circle."])
def test_a_row_is_the_prompt_of_inference_and_its_reply(reader, examples, said):
    rows = [Row(example, said) for example in examples]
    batch = collate(reader, rows)
    for row, ids, mask, labels in zip(rows, batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
        messages = row.messages("tiny", 112)
        alone = reader.prepare([reader.render(messages)], [messages])["input_ids"][0]
        kept = ids[mask.bool()]
        assert torch.equal(kept[: len(alone)], alone)
        assert reader.tokenizer.decode(kept[len(alone) :]) == row.reply + "<|im_end|>"
        assert torch.equal(labels[labels != IGNORED], kept[len(alone) :])


def test_stage_one_learns_the_evidence_and_stage_two_the_answer(examples):
    assert Row(examples[0]).reply == examples[0].evidence
    assert Row(examples[0], said="").reply == examples[0].answer


def test_the_batch_changes_nothing_about_a_row(reader, examples):
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(TINY).eval()

    def loss(rows):
        batch = collate(reader, rows)
        labels = batch.pop("labels")
        with torch.no_grad():
            logits = model(**batch).logits
        return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum").item()

    rows = [Row(example) for example in examples]
    assert loss(rows) == pytest.approx(sum(loss([row]) for row in rows), rel=1e-3)


def test_a_reply_cannot_end_its_turn_early(reader, examples):
    from dataclasses import replace

    batch = collate(reader, [Row(replace(examples[0], evidence="a<|im_end|>b"))])
    learnt = batch["labels"][batch["labels"] != IGNORED]
    assert (learnt == reader.tokenizer.eos_token_id).sum() == 1


def test_a_row_over_the_length_is_refused_by_name(reader, examples):
    with pytest.raises(DataError, match=rf"{examples[0].id}: \d+ tokens, over max_length of 40"):
        collate(reader, [Row(examples[0])], max_length=40)
