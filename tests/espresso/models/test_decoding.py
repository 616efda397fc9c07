"""Tokens are constrained to a schema, sampled by a seed, and their probabilities recorded."""

import json

import numpy as np
import pytest
import torch
from pydantic import BaseModel, Field

from espresso.models import GenerateConfig
from espresso.models.decoding import JsonConstraint, TokenSampler

END = 9


class Note(BaseModel):
    text: str
    frames: list[int] = Field(max_length=8)


@pytest.fixture(scope="module")
def tokenizer(text_model):
    return text_model._engine().processor.tokenizer


@pytest.fixture(scope="module")
def constraint(text_model):
    engine = text_model._engine()
    return JsonConstraint(engine.processor.tokenizer, engine.vocab_size, engine.eos_ids)


def generate(sampler, logits, steps):
    """Run a sampler on fixed logits, as a greedy `generate` does; return the tokens of each row."""
    ids = torch.zeros(len(logits), 1, dtype=torch.long)
    for _ in range(steps):
        chosen = sampler(ids, logits).argmax(-1)
        ids = torch.cat([ids, chosen[:, None]], 1)
    sampler.update(ids)
    return ids[:, 1:]


def test_a_tokenizer_may_have_more_tokens_than_the_model_has_logits(tokenizer):
    """InternVL3-1B has 151,675 tokens and 151,674 logits."""
    width, end = len(tokenizer) - 1, tokenizer.eos_token_id
    sampler = TokenSampler(1, [end], GenerateConfig(schema=Note, max_tokens=64), JsonConstraint(tokenizer, width, [end]))
    tokens = generate(sampler, torch.randn(1, width, generator=torch.Generator().manual_seed(0)), 64)[0].tolist()
    Note.model_validate_json(tokenizer.decode(tokens[: tokens.index(end)]))


def test_a_reply_has_no_fields_besides_those_of_its_schema(tokenizer, constraint):
    """Servers are asked for closed objects too."""
    for text, ends in (('{"text":"a","frames":[1]', True), ('{"text":"a"', False)):
        matcher = constraint.start(Note)
        assert matcher.consume_tokens(tokenizer.encode(text, add_special_tokens=False))
        comma, brace = (tokenizer.encode(token, add_special_tokens=False)[0] for token in ",}")
        allowed = matcher.compute_logit_bias()
        assert [bool(allowed[token]) for token in (comma, brace)] == [not ends, ends]


def test_confidence_is_the_geometric_mean_of_the_token_probabilities():
    logits = torch.tensor([[0.0, 1.0, 2.0] + [-torch.inf] * 7])
    sampler = TokenSampler(1, [END], GenerateConfig())
    assert generate(sampler, logits, 3).tolist() == [[2, 2, 2]]
    assert sampler.tokens == [3]
    assert sampler.confidence(0) == pytest.approx(float(logits.softmax(-1)[0, 2]))


def test_tokens_after_the_end_do_not_count():
    logits = torch.full((2, 10), -5.0)
    logits[0, END], logits[1, 1] = 5.0, 5.0
    sampler = TokenSampler(2, [END], GenerateConfig())
    generate(sampler, logits, 4)
    assert sampler.tokens == [1, 4]


def test_samples_follow_the_probabilities_and_the_seed():
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    drawn = [generate(TokenSampler(1, [END], GenerateConfig(temperature=1.0, seed=n)), logits, 1).item() for n in range(2000)]
    assert np.allclose(np.bincount(drawn) / len(drawn), logits.softmax(-1)[0], atol=0.04)
    again = [generate(TokenSampler(2, [END], GenerateConfig(temperature=1.0, seed=5)), logits.expand(2, -1), 4) for _ in range(2)]
    assert torch.equal(again[0], again[1])
    assert torch.equal(again[0][0], again[0][1])


def test_random_logits_become_json_that_is_closed_in_time(tokenizer, constraint, text_model):
    torch.manual_seed(0)
    config = GenerateConfig(schema=Note, max_tokens=80)
    for _ in range(5):
        sampler = TokenSampler(1, text_model._engine().eos_ids, config, constraint)
        tokens = generate(sampler, torch.randn(1, text_model._engine().vocab_size), config.max_tokens)
        written = tokenizer.decode(tokens[0][: sampler.tokens[0]], skip_special_tokens=True)
        assert Note.model_validate(json.loads(written)).model_dump_json() == written


@pytest.mark.parametrize(("written", "closer"), [('{"text":"a', '"'), (r'{"text":"a\"', '"'), ('{"text":"a","frames":[1', "]")])
def test_what_is_open_is_closed(constraint, written, closer):
    assert closer in [constraint.text(token) for token in constraint.closers(written)]
    in_string = closer == '"'
    assert (constraint.text(constraint.closers(written)[0]) == '"') == in_string
