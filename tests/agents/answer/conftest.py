"""Ask one question of the clip with the doubled models."""

import pytest

import espresso
from agents.session import Session
from espresso.models import Picture

QUESTION = "Where does the square go?"
OPTIONS = ["left", "right", "up", "down"]


@pytest.fixture
def ask(clip, roles, profile):
    def ask(text=QUESTION, profile=profile, cache=True, **settings):
        with Session(profile, roles=roles, cache=cache) as session:
            return espresso.ask(clip, text, session=session, **{"options": OPTIONS} | settings)

    return ask


def nodes(answer):
    return [step.node for step in answer.trace]


def note(answer, node):
    return next(step.note for step in answer.trace if step.node == node)


def pictures(conversation):
    return [part for message in conversation for part in message.content if isinstance(part, Picture)]
