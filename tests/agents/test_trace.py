"""The steps that nodes record, and prompts that fit the context."""

import pytest

from agents.trace import fit_prompt, make_step
from espresso.cache import CachedCaption
from espresso.errors import ModelError
from espresso.models import Completion


def test_a_step_sums_the_tokens_of_its_replies_and_of_what_the_cache_saved():
    replies = [Completion("a", tokens_in=3, tokens_out=1, tokens_visual=2, requests=("r1",)), Completion("b", tokens_in=4)]
    (step,) = make_step("caption", replies, frames=5, saved=[CachedCaption("c", 7, 8, 9)], notes=[None, "one", "two"])
    assert (step.tokens_in, step.tokens_out, step.tokens_visual, step.frames) == (7, 1, 2, 5)
    assert (step.cached, step.saved_in, step.saved_out, step.saved_visual) == (1, 7, 8, 9)
    assert (step.note, step.requests) == ("one; two", ("r1",))


async def test_captions_that_do_not_fit_are_left_out_evenly(says):
    model = says("", context_length=200)
    captions = [{"number": number, "time": float(number), "text": "a red square", "name": "the video"} for number in range(60)]
    kept, prompt, note = await fit_prompt(
        "select", captions, model, listed_as="captions", style="general", max_tokens=8, question="Why?", budget=2
    )
    assert 0 < len(kept) < 60
    assert model.count_tokens(prompt.messages).total + 8 <= 200
    assert f"{len(kept)} of 60" in note


async def test_a_question_that_does_not_fit_is_an_error(says):
    with pytest.raises(ModelError, match="context"):
        await fit_prompt(
            "select",
            [],
            says("", context_length=10),
            listed_as="captions",
            style="general",
            max_tokens=8,
            question="Why?",
            budget=2,
        )
