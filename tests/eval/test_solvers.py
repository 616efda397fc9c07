"""Solvers: where each gets its core frames and evidence from, on a real clip of the world."""

import pytest

from espresso.datasets import world
from espresso.errors import DataError
from eval.solvers import make_solver


@pytest.mark.parametrize("strategy", ["selector", "uniform", "all", "blind", "random", "ranked"])
async def test_no_solver_but_the_oracles_passes_the_ground_truth_on(session, roles, questions, strategy):
    question = questions[0]
    answer = await make_solver(strategy)(question, session)
    assert (answer.question.answer, answer.question.truth) == (None, None)
    texts = [
        part for role in (roles.captioner, roles.selector, roles.reasoner) for said in role.asked for part in said[0].content
    ]
    assert not any(question.truth.evidence in text for text in texts if isinstance(text, str))


async def test_the_oracle_takes_the_frame_nearest_to_the_middle_of_each_span(session, questions):
    question = questions[0]
    answer = await make_solver("oracle")(question, session)
    assert all(any(span.holds(core.frame) for core in answer.core_frames) for span in question.truth.spans)
    assert len(answer.core_frames) <= len(question.truth.spans)


async def test_given_evidence_is_used_by_every_strategy(session, questions):
    for strategy in ("uniform", "random", "oracle"):
        answer = await make_solver(strategy, given_evidence=True)(questions[0], session)
        assert answer.evidence.text == questions[0].truth.evidence


async def test_oracle_captions_are_true_and_ask_no_captioner(session, roles, questions):
    question = questions[0]
    answer = await make_solver("oracle-captions")(question, session)
    assert not roles.captioner.asked
    assert answer.captions
    assert all(caption.text == world.true_caption(question.visuals[0], caption.frame.time) for caption in answer.captions)


async def test_random_frames_depend_on_the_seed_alone(session, questions):
    drawn = [
        [core.frame.index for core in (await make_solver("random", frames=5, seed=seed)(questions[0], session)).core_frames]
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(frames) == 5 for frames in drawn)


@pytest.mark.parametrize(
    ("strategy", "missing"), [("oracle", "core frames are not known"), ("oracle-evidence", "no evidence|core")]
)
async def test_an_oracle_without_ground_truth_is_an_error(session, questions, strategy, missing):
    with pytest.raises(DataError, match=missing):
        await make_solver(strategy)(questions[0].model_copy(update={"truth": None}), session)


@pytest.mark.parametrize("strategy", ["selector", "random", "ranked", "oracle", "oracle-evidence", "oracle-captions"])
async def test_a_written_choice_is_a_free_reply_with_every_strategy(session, roles, questions, strategy):
    answer = await make_solver(strategy, written=True)(questions[0], session)
    assert (answer.choice, answer.text) == (None, roles.reasoner.says)
    last = "".join(part for message in roles.reasoner.asked[-1] for part in message.content if isinstance(part, str))
    assert all(f"({letter}) {option}" in last for letter, option in zip("ABCD", questions[0].options, strict=True))
