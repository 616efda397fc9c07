import json

import numpy as np
import pytest

from agents.annotate.graph.replies import Citation, Distractors, Review, WrittenPairs
from espresso.world import things_in
from finetune.tiny.build import build_tokenizer
from finetune.tiny.config import TinyConfig
from finetune.tiny.writing import SHARES, UNSEEN, WriterBatches, draw_rows

SCHEMAS = {"write": WrittenPairs, "filter": Review, "evidence": Citation, "distract": Distractors}


def rows(kind, count=40):
    rng = np.random.default_rng(0)
    drawn = [row for _ in range(count) for row in draw_rows(rng, kind)]
    return [("".join(prompt[-1].content), reply.content[0]) for prompt, reply in drawn]


@pytest.mark.parametrize("kind", SHARES)
def test_replies_are_what_the_writer_is_asked_for(kind):
    for prompt, reply in rows(kind):
        assert prompt.endswith(kind)
        SCHEMAS[kind].model_validate_json(reply)
        assert json.dumps(json.loads(reply), separators=(",", ":"), ensure_ascii=False) == reply


def test_a_pair_follows_from_captions_in_the_prompt():
    for prompt, reply in rows("write"):
        for pair in json.loads(reply)["pairs"]:
            assert pair["question"].endswith("?")
            assert all(f"s: {fact}." in prompt for fact in pair["reasoning"].split(". "))
    evidence = [(prompt, Citation.model_validate_json(reply)) for prompt, reply in rows("evidence")]
    assert all(f"s: {caption}." in prompt for prompt, cited in evidence for caption in cited.captions)
    assert all(cited.evidence in prompt.replace("\n", " ") or len(cited.captions) > 1 for prompt, cited in evidence)


def test_the_filter_learns_from_good_and_bad_pairs():
    drawn = [(prompt, Review.model_validate_json(reply)) for prompt, reply in rows("filter", 400)]
    reviews = [review for _, review in drawn]
    kept = sum(each.consistent and each.objective and each.continuous for each in reviews) / len(reviews)
    assert 0.4 < kept < 0.7
    assert any(not each.objective for each in reviews)
    assert any(not each.continuous for each in reviews)
    unseen = [prompt.split("\n", 1) for prompt, review in drawn if review == UNSEEN]
    assert any(set(things_in(question)) <= set(things_in(captions)) for question, captions in unseen)


def test_distractors_differ_from_the_answer():
    for prompt, reply in rows("distract"):
        answer = prompt.split("\n")[1].removeprefix("A: ")
        distractors = json.loads(reply)["distractors"]
        assert len({*distractors, answer}) == 4


def test_batches_are_the_same_for_the_same_seed(tmp_path):
    config = TinyConfig(role="writer", output=tmp_path, checkpoints=tmp_path, batches=4, learning_rate=1e-3, writer_batch=4)
    batches = WriterBatches(config, build_tokenizer(config))
    assert all(batches[1][name].equal(value) for name, value in batches[1].items())
    assert batches[0]["input_ids"].shape[0] == 4
    labels = batches[0]["labels"]
    assert ((labels != -100).sum(dim=1) > 5).all()
