"""The formulas against what torch counts while a model replies."""

import json
from pathlib import Path

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from espresso import profiles
from espresso.errors import ModelError
from espresso.models import Message, Picture
from espresso.models.engine import Engine
from espresso.models.flops import read, tflops
from espresso.schema import Step

PICTURE = Picture(np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8))
ASKED = "what happens here? " * 8


def counted(folder, content):
    """Operations of a reply as torch counts them, and as the config tells them."""
    engine = Engine(str(folder), {})
    engine.model.set_attn_implementation("eager")  # torch does not count the fused attention of processors
    messages = [Message("user", content)]
    prompt = engine.reader.render(messages)
    with FlopCounterMode(display=False) as counter:
        (reply,) = engine.generate([prompt], [messages], schema=None, adapter=None, max_tokens=8, temperature=0.0, seed=None)
    size = engine.reader.count(prompt, messages)
    pictures = sum(isinstance(part, Picture) for part in content)
    model = read(json.loads((Path(folder) / "config.json").read_text()))
    return counter, model.cost(size.total, reply.tokens_out, tokens_visual=size.visual, pictures=pictures)


@pytest.mark.parametrize("pictures", [1, 3])
def test_every_family_costs_what_torch_counts(family, pictures):
    counter, cost = counted(family._folder, (*[PICTURE] * pictures, ASKED))
    # LLaVA-OneVision ends each row of a single picture with a token of its own: many, where a row has eight.
    rows = "llava" in str(family._folder).lower() and pictures == 1
    assert cost.total == pytest.approx(counter.get_total_flops(), rel=0.08 if rows else 0.05)
    assert cost.vision > 0
    assert cost.projector > 0


def test_a_model_of_text_costs_what_torch_counts(text_model):
    counter, cost = counted(text_model._folder, (ASKED,))
    assert cost.total == pytest.approx(counter.get_total_flops(), rel=0.05)
    assert cost.vision == cost.projector == 0


@pytest.mark.parametrize(("role", "content"), [("reasoner", (PICTURE, PICTURE, ASKED)), ("selector", (ASKED,))])
def test_the_tiny_models_cost_what_torch_counts(role, content):
    counter, cost = counted(getattr(profiles.load("tiny"), role).model, content)
    assert cost.total == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_a_family_that_is_not_known_is_named():
    text = {"hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 8, "vocab_size": 9}
    with pytest.raises(ModelError, match="cyclops: what it computes for a picture is not known"):
        read({"model_type": "cyclops", "text_config": text, "vision_config": {"hidden_size": 8}})


TRACE = (
    Step(node="sample", frames=16),
    Step(node="caption", frames=16, cached=6, tokens_in=300, tokens_visual=160, tokens_out=80),
    Step(node="select", frames=2, tokens_in=200, tokens_out=10),
    Step(node="evidence", frames=2, tokens_in=60, tokens_visual=32, tokens_out=20),
    Step(node="answer", frames=2, tokens_in=80, tokens_visual=32, tokens_out=4),
)


def test_an_answer_costs_each_role_what_its_requests_cost():
    tiny = profiles.load("tiny")
    model = read(json.loads((Path(tiny.reasoner.model) / "config.json").read_text()))
    found = tflops(TRACE, tiny)
    assert found["captioner"] == pytest.approx(10 * model.cost(30, 8, tokens_visual=16, pictures=1).total / 1e12)
    evidence, answer = (model.cost(*size, tokens_visual=32, pictures=2).total for size in ((60, 20), (80, 4)))
    assert found["reasoner"] == pytest.approx((evidence + answer) / 1e12)
    assert 0 < found["selector"] < found["captioner"]
    assert tflops(TRACE, profiles.load("tiny@localhost:8000")) == found


def test_true_captions_cost_nothing_even_had_they_been_asked_for():
    told = [Step(node="caption", frames=16, cached=16)]
    assert tflops(told, profiles.load("tiny"), saved=True) == {}


def _paid(step):
    paid = {"tokens_in": step.saved_in, "tokens_visual": step.saved_visual, "tokens_out": step.saved_out}
    return step.model_copy(update={"cached": 0, **paid})


def test_captions_that_were_known_and_models_that_are_not_cost_nothing():
    known = [Step(node="caption", frames=16, cached=16, saved_in=480, saved_visual=256, saved_out=128)]
    tiny = profiles.load("tiny")
    assert tflops(known, tiny) == {}
    assert tflops(known, tiny, saved=True) == pytest.approx(tflops([_paid(known[0])], tiny))
    assert tflops(TRACE, profiles.load("api")) == {}
