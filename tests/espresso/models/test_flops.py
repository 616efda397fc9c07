"""The counted operations against those that torch counts while a model replies."""

import json
from pathlib import Path

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from espresso import profiles
from espresso.errors import ModelError
from espresso.models import GenerateConfig, Message, Picture
from espresso.models.engine import Engine
from espresso.models.flops import model_shape, tflops
from espresso.schema import Step

PICTURE = Picture(np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8))
TEXT = "what happens here? " * 8


def count(folder, content):
    """Return the operations of a reply as torch counts them, and as the config gives them."""
    engine = Engine(str(folder), {})
    engine.model.set_attn_implementation("eager")  # torch does not count fused attention on a CPU
    messages = [Message("user", content)]
    prompt = engine.processor.render(messages)
    with FlopCounterMode(display=False) as counter:
        (reply,) = engine.generate([prompt], [messages], GenerateConfig(max_tokens=8))
    size = engine.processor.count(prompt, messages)
    pictures = sum(isinstance(part, Picture) for part in content)
    shape = model_shape(json.loads((Path(folder) / "config.json").read_text()))
    return counter.get_total_flops(), shape.flops(size.total, reply.tokens_out, tokens_visual=size.visual, pictures=pictures)


@pytest.mark.parametrize("pictures", [1, 3])
def test_every_family_matches_torch(family, pictures):
    expected, counted = count(family._folder, (*[PICTURE] * pictures, TEXT))
    # LLaVA-OneVision adds a token to each row of a single picture: 1/8 of these short rows.
    rows = "llava" in str(family._folder).lower() and pictures == 1
    assert counted.total == pytest.approx(expected, rel=0.08 if rows else 0.05)
    assert counted.vision > 0
    assert counted.projector > 0


def test_a_text_model_matches_torch(text_model):
    expected, counted = count(text_model._folder, (TEXT,))
    assert counted.total == pytest.approx(expected, rel=0.05)
    assert counted.vision == counted.projector == 0


@pytest.mark.parametrize(("role", "content"), [("reasoner", (PICTURE, PICTURE, TEXT)), ("selector", (TEXT,))])
def test_the_tiny_models_match_torch(role, content):
    expected, counted = count(getattr(profiles.load("tiny"), role).model, content)
    assert counted.total == pytest.approx(expected, rel=0.05)


def test_an_unknown_family_is_an_error():
    text = {"hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 8, "vocab_size": 9}
    with pytest.raises(ModelError, match="cannot count the operations of the vision encoder of 'cyclops'"):
        model_shape({"model_type": "cyclops", "text_config": text, "vision_config": {"hidden_size": 8}})


TRACE = (
    Step(node="sample", frames=16),
    Step(node="caption", role="captioner", frames=16, cached=6, tokens_in=300, tokens_visual=160, tokens_out=80),
    Step(node="select", role="selector", frames=2, tokens_in=200, tokens_out=10),
    Step(node="evidence", role="reasoner", frames=2, tokens_in=60, tokens_visual=32, tokens_out=20),
    Step(node="answer", role="reasoner", frames=2, tokens_in=80, tokens_visual=32, tokens_out=4),
)


def test_the_cost_of_an_answer_is_summed_by_role():
    tiny = profiles.load("tiny")
    shape = model_shape(json.loads((Path(tiny.reasoner.model) / "config.json").read_text()))
    costs = tflops(TRACE, tiny)
    assert set(costs) == {"captioner", "selector", "reasoner"}
    assert costs["captioner"] == pytest.approx(10 * shape.flops(30, 8, tokens_visual=16, pictures=1).total / 1e12)
    evidence, answer = (shape.flops(*size, tokens_visual=32, pictures=2).total for size in ((60, 20), (80, 4)))
    assert costs["reasoner"] == pytest.approx((evidence + answer) / 1e12)
    assert 0 < costs["selector"] < costs["captioner"]
    assert tflops(TRACE, profiles.load("tiny@localhost:8000")) == costs


def test_the_role_of_a_step_decides_and_not_the_name_of_its_node():
    tiny = profiles.load("tiny")
    renamed = [step.model_copy(update={"node": "other"}) for step in TRACE]
    assert tflops(renamed, tiny) == tflops(TRACE, tiny)


def test_a_published_config_may_leave_out_default_values(smolvlm, tmp_path):
    """SmolVLM2-500M's file says nothing about the depth of its vision encoder."""
    config = json.loads((smolvlm._folder / "config.json").read_text())
    defaults = {"num_hidden_layers": 12, "intermediate_size": 3072}
    complete = config["vision_config"] | defaults
    published = {key: value for key, value in complete.items() if key not in defaults}
    counted = {}
    for name, vision in (("complete", complete), ("published", published)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config | {"vision_config": vision}))
        profile = profiles.load("laptop")
        captioner = profile.captioner.model_copy(update={"model": str(tmp_path / name)})
        counted[name] = tflops(TRACE, profile.model_copy(update={"captioner": captioner})).get("captioner")
    assert counted["published"] == counted["complete"] > 0


@pytest.mark.parametrize("config", [{"model_type": "nobody"}, {"model_type": "gpt2", "n_embd": 8}, {}])
def test_a_config_that_cannot_be_counted_is_left_out(config, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    tiny = profiles.load("tiny")
    selector = tiny.selector.model_copy(update={"model": str(tmp_path)})
    assert "selector" not in tflops(TRACE, tiny.model_copy(update={"selector": selector}))


def test_ground_truth_captions_cost_nothing():
    captions = [Step(node="caption", frames=16, cached=16)]
    assert tflops(captions, profiles.load("tiny"), saved=True) == {}


def test_cached_captions_cost_only_what_they_saved():
    tiny = profiles.load("tiny")
    cached = Step(node="caption", role="captioner", frames=16, cached=16, saved_in=480, saved_visual=256, saved_out=128)
    made = Step(node="caption", role="captioner", frames=16, tokens_in=480, tokens_visual=256, tokens_out=128)
    assert tflops([cached], tiny) == {}
    assert tflops([cached], tiny, saved=True) == pytest.approx(tflops([made], tiny))


def test_models_with_unknown_weights_are_left_out():
    assert tflops(TRACE, profiles.load("api")) == {}
