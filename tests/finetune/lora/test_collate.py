"""A batch contains the prompts of inference, and the loss counts the replies alone."""

import pytest
import torch

from espresso.errors import DataError
from espresso.models.processor import ChatProcessor
from finetune.lora.collate import IGNORE_INDEX, ConversationCollator, TrainingRow
from finetune.lora.config import World
from finetune.lora.examples import load


@pytest.fixture(scope="module")
def processor(base):
    return ChatProcessor(str(base), vision=True)


@pytest.fixture(scope="module")
def examples():
    return load(World(format="world", count=6)).examples


def collate(processor, rows, max_length=1024):
    return ConversationCollator(processor, style="tiny", size=112, max_length=max_length)([{"row": row} for row in rows])


@pytest.mark.parametrize("prompt_evidence", [None, "", "0.1s: red star hits blue circle."])
def test_a_row_is_the_prompt_of_inference_and_its_reply(processor, examples, prompt_evidence):
    rows = [TrainingRow(example, prompt_evidence) for example in examples]
    batch = collate(processor, rows)
    for row, ids, mask, labels in zip(rows, batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
        messages = row.messages("tiny", 112)
        alone = processor.prepare([processor.render(messages)], [messages])["input_ids"][0]
        kept = ids[mask.bool()]
        assert torch.equal(kept[: len(alone)], alone)
        assert processor.tokenizer.decode(kept[len(alone) :]) == row.reply + "<|im_end|>"
        assert torch.equal(labels[labels != IGNORE_INDEX], kept[len(alone) :])


def test_the_first_stage_learns_the_evidence_and_the_second_the_answer(examples):
    assert TrainingRow(examples[0]).reply == examples[0].evidence
    assert TrainingRow(examples[0], prompt_evidence="").reply == examples[0].answer


def test_the_loss_of_a_row_does_not_depend_on_its_batch(processor, examples, base):
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(base).eval()

    def loss(rows):
        batch = collate(processor, rows)
        labels = batch.pop("labels")
        with torch.no_grad():
            logits = model(**batch).logits
        return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum").item()

    rows = [TrainingRow(example) for example in examples]
    assert loss(rows) == pytest.approx(sum(loss([row]) for row in rows), rel=1e-3)


def test_a_special_token_in_a_reply_does_not_end_its_turn(processor, examples):
    from dataclasses import replace

    batch = collate(processor, [TrainingRow(replace(examples[0], evidence="a<|im_end|>b"))])
    learned = batch["labels"][batch["labels"] != IGNORE_INDEX]
    assert (learned == processor.tokenizer.eos_token_id).sum() == 1


def test_a_row_that_is_too_long_is_refused_with_its_id(processor, examples):
    with pytest.raises(DataError, match=rf"{examples[0].id}: \d+ tokens exceed max_length of 40"):
        collate(processor, [TrainingRow(examples[0])], max_length=40)
