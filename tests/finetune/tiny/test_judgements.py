"""The tiny judge's training data: judgements, marks of matching tokens, reused weights."""

from hashlib import sha256
from itertools import islice

import pytest
import torch
from safetensors.torch import load_file

from agents.judge import Judgement
from eval.judge_audit.perturb import AnswerVariant
from finetune.tiny import build, judgements
from finetune.tiny.config import TinyConfig
from finetune.tiny.train import train

SMALL = {"hidden": 64, "heads": 2, "kv_heads": 1, "layers": 2, "feed_forward": 64, "judge_batch": 8, "selector_batch": 4}


def config(tmp_path, role="judge", **changes):
    places = {"output": tmp_path / role, "checkpoints": tmp_path / "checkpoints" / role}
    return TinyConfig(role=role, **{**SMALL, **places, "batches": 10, "learning_rate": 1e-3, "threads": 1, **changes})


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return build.build_tokenizer(config(tmp_path_factory.mktemp("tokens")))


def rows(batch, tokens):
    """Yield prompt and reply of each row."""
    for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
        yield tokens.decode(ids[(labels == -100) & mask.bool()]), tokens.decode(ids[labels != -100]).removesuffix("<|im_end|>")


def test_a_row_is_the_prompt_of_the_judge_and_a_judgement(tmp_path, tokens):
    for prompt, reply in rows(judgements.JudgeBatches(config(tmp_path), tokens)[9], tokens):
        assert Judgement.model_validate_json(reply).model_dump_json() == reply
        assert [line.split(":")[0] for line in prompt.split("\n")[1:4]] == ["Q", "R", "A"]


def test_the_first_batches_only_compare_and_have_short_replies(tmp_path, tokens):
    settings = config(tmp_path)
    first, last = (list(rows(judgements.JudgeBatches(settings, tokens)[index], tokens)) for index in (0, 9))
    assert len(first) == 2 * len(last)
    assert all(reply.startswith('{"logic":{') and "factuality" not in reply for _, reply in first)


def test_tokens_that_the_reference_has_in_the_same_order_are_marked(tmp_path, tokens):
    batch = judgements.JudgeBatches(config(tmp_path, judge_batch=32), tokens)[0]
    orders = 0
    for ids, marks, (prompt, reply) in zip(batch["input_ids"], batch["marks"], rows(batch, tokens), strict=True):
        reference, answer = (line[3:] for line in prompt.split("\n")[2:4])
        assert all(tokens.decode(token) in f" {reference}" for token in ids[marks == 1])
        if answer == reference:
            assert 0 not in marks
        if "order" in reply:
            orders += 1
            assert 0 in marks
    assert orders


def test_the_training_data_of_the_shipped_judge_does_not_change():
    text = "\n".join(islice(judgements.corpus(), 200))
    assert sha256(text.encode()).hexdigest()[:16] == "09960d5b783d63d1"


def test_a_judgement_of_a_correct_answer_is_right_throughout_and_of_a_wrong_one_gives_the_reason():
    right, wrong = judgements.judgement(AnswerVariant("")), judgements.judgement(AnswerVariant("", "wrong order", 3))
    assert {getattr(right, name).reason for name in judgements.CRITERIA} == {"right"}
    assert wrong.logic.reason == wrong.overall.reason == "not the right order"
    assert wrong.conciseness.reason == "right"


def test_a_start_of_another_role_lends_its_words_and_layers(tmp_path):
    selector = train(config(tmp_path, "selector", batches=1))
    settings = config(tmp_path, start=selector)
    mine = build.build_tokenizer(settings)
    model = build.build_model(settings, mine)
    build.load_start_weights(model, mine, selector)
    theirs = load_file(selector / "model.safetensors")
    assert torch.equal(model.state_dict()["model.norm.weight"], theirs["model.norm.weight"])
    token = "Ġtriangle"
    known = build.Qwen2Tokenizer.from_pretrained(selector).get_vocab()[token]
    assert torch.equal(model.get_input_embeddings().weight[mine.get_vocab()[token]], theirs["model.embed_tokens.weight"][known])
