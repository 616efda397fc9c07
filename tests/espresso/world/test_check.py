import pytest

from espresso import world
from espresso.world.check import conclude


def acts_of(story):
    return [
        {"verb": beat.verb, "doer": beat.doer and str(beat.doer), "target": beat.target and str(beat.target), "value": beat.value}
        for beat in story.beats
    ]


@pytest.mark.parametrize("split", world.SPLITS)
def test_it_agrees_with_every_question_of_the_world(split):
    for index in range(45):  # three cycles: every task, in every place
        story = world.story(split, index)
        for motif, needed in zip(story.motifs, story.needed, strict=True):
            for option in motif.options:
                found = conclude(acts_of(story), motif.text, option)
                assert (found is not None and found.answer == option) == (option == motif.answer), (motif.text, option)
            found = conclude(acts_of(story), motif.text, motif.answer)
            assert (found.task, set(found.needed)) == (motif.task, set(needed))


def act(verb, doer, target=None, value=""):
    return {"verb": verb, "doer": doer, "target": target, "value": value}


CHAIN = "A box goes from hand to hand: who is the red star?"
TRAIT = "What is the red star like, going by most of its acts?"
FEELS = [act("feels", "red star", value=mood) for mood in ("sad", "happy")]


@pytest.mark.parametrize(
    ("acts", "question"),
    [
        (FEELS, "Do you like the red star?"),  # no wording of the world
        (FEELS, "How does the mood of the blue star change?"),  # not there
        ([*FEELS, act("feels", "red star", value="angry")], "How does the mood of the red star change?"),  # twice
        (FEELS[:1], "How does the mood of the red star change?"),
        ([act("turns", "red star", value="black")], "Why did the red star turn black?"),  # nothing came before
        ([act("hides", "blue car"), act("turns", "red star", value="black")], "Why did the red star turn black?"),
        ([act("gives", "red star", "blue car"), act("gives", "red star", "blue bus")], CHAIN),
        ([act("hits", "red star", "blue car"), act("hides", "red star")], TRAIT),
    ],
)
def test_a_question_without_one_answer_has_no_conclusion(acts, question):
    assert conclude(acts, question, "anything") is None


def test_a_summary_must_be_complete_and_in_order():
    acts = [act("hits", "red star", "blue car"), act("leaves", "blue car"), act("follows", "green bus", "red star")]
    question = "How does the story go?"
    right = "the red star hits, the blue car leaves, the green bus follows"
    assert conclude(acts, question, right).needed == (0, 1, 2)
    assert conclude(acts, question, "the blue car leaves, the red star hits, the green bus follows") is None
    assert conclude(acts, question, "the red star hits, the blue car leaves") is None
    assert conclude(acts, question, "all is well") is None
