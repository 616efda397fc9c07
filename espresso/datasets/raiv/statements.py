"""Template statements about two visuals, their truth, and the reasons for false ones (section 3.1).

A claim is what a statement says. It tests existence (in both, in at least one, in neither),
similarity (the same action or role) or difference (only in the first, in exactly one, another
action or role) of an object, an action, or an action with a role. `way` reads from the annotations
how the claim's topic relates the two visuals ("both", "first", ...); a relation is true in some
ways and false in others.

A false statement has reasons if it can be false in exactly three ways: one of them is right, and
the three exclude each other. "At least one image shows a dog" is false in one way only, so its text
gives the reason away, and it has none.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from espresso.datasets.raiv.situations import Situation
from espresso.datasets.raiv.words import with_article

Kind = Literal["im-im", "im-vid", "vid-vid"]
KINDS: tuple[Kind, ...] = ("im-im", "im-vid", "vid-vid")

Topic = Literal["object", "action", "role"]
Relation = Literal["both", "any", "neither", "first", "second", "one", "same", "different"]

Way = Literal["both", "first", "second", "neither", "same", "different"]
"""How two visuals relate: the topic is in both, only in the first, only in the second, or in
neither. For "same" and "different" it is in both, with an equal or another action (or role)."""

TRUE_WAYS: dict[Relation, tuple[Way, ...]] = {
    "both": ("both",), "any": ("both", "first", "second"), "neither": ("neither",), "first": ("first",),
    "second": ("second",), "one": ("first", "second"), "same": ("same",), "different": ("different",),
}  # fmt: skip
FALSE_WAYS: dict[Relation, tuple[Way, ...]] = {
    "both": ("first", "second", "neither"), "any": ("neither",), "neither": ("both", "first", "second"),
    "first": ("second", "both", "neither"), "second": ("first", "both", "neither"), "one": ("both", "neither"),
    "same": ("different", "first", "second"), "different": ("same", "first", "second"),
}  # fmt: skip
"""Ways in which a statement is false. For "same" and "different", "neither" is left out."""

RELATIONS: dict[Topic, tuple[Relation, ...]] = {
    "object": ("both", "any", "neither", "first", "second", "one", "same", "different"),
    "action": ("both", "any", "neither", "first", "second", "one"),
    "role": ("both", "any", "neither", "first", "second", "one", "same", "different"),
}


TESTS: dict[Relation, str] = {
    "both": "existence", "any": "existence", "neither": "existence", "same": "similarity", "different": "difference",
    "first": "difference", "second": "difference", "one": "difference",
}  # fmt: skip
"""What a relation tests (section 3.1)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a statement says about two visuals."""

    topic: Topic

    relation: Relation

    verb: str = ""
    """The action of the topics "action" and "role"."""

    role: str = ""
    """The role of the topic "role"."""

    noun: str = ""
    """The object, or what fills the role; "" if the claim compares what fills it."""

    @property
    def template(self) -> str:
        """Name of the template: "object-both"."""
        return f"{self.topic}-{self.relation}"


def way(claim: Claim, first: Situation, second: Situation) -> Way | None:
    """Return how the claim's topic relates two situations; None if the annotations do not say."""
    left, right = shows(claim, first), shows(claim, second)
    if left is None or right is None:
        return None
    if not (left and right):
        return "first" if left else "second" if right else "neither"
    if claim.relation not in ("same", "different"):
        return "both"
    if claim.topic == "object":
        return "same" if first.verb == second.verb else "different"
    one, other = first.roles[claim.role], second.roles[claim.role]
    if one == other:
        return "same"
    return None if one in second.unsure or other in first.unsure else "different"


def is_true(claim: Claim, first: Situation, second: Situation) -> bool | None:
    """Return whether a claim is true of two situations; None if the annotations do not say."""
    found = way(claim, first, second)
    return None if found is None else found in TRUE_WAYS[claim.relation]


def shows(claim: Claim, situation: Situation) -> bool | None:
    """Return whether a situation shows the topic; None if the annotations do not say."""
    if claim.topic == "object":
        return True if claim.noun in situation.objects else None if claim.noun in situation.unsure else False
    if claim.topic == "action" or situation.verb != claim.verb:
        return situation.verb == claim.verb
    value = situation.roles.get(claim.role)
    if value is None or (claim.noun != value and claim.noun in situation.unsure):
        return None
    return claim.noun in ("", value)


# Text


@dataclass(frozen=True)
class _Names:
    """What the two visuals are called."""

    first: str
    second: str
    both: str
    any: str
    neither: str
    one: str


_NAMES: dict[Kind, _Names] = {
    "im-im": _Names("the first image", "the second image", "both images", "at least one of the images",
                    "neither image", "exactly one of the images"),
    "vid-vid": _Names("the first video", "the second video", "both videos", "at least one of the videos",
                      "neither video", "exactly one of the videos"),
    "im-vid": _Names("the image", "the video", "both the image and the video", "at least one of the two visuals",
                     "neither the image nor the video", "exactly one of the two visuals"),
}  # fmt: skip


def names(kind: Kind) -> tuple[str, str]:
    """Return what the two visuals are called: "the image" and "the video"."""
    return _NAMES[kind].first, _NAMES[kind].second


_TEXTS: dict[Way | Relation, tuple[str, str]] = {
    "both": ("{n.both} show {x}", "{x} can be seen in {n.both}"),
    "any": ("{n.any} shows {x}", "{x} can be seen in {n.any}"),
    "neither": ("{n.neither} shows {x}", "{x} can be seen in {n.neither}"),
    "first": ("{n.first} shows {x}, but {n.second} does not", "{x} can be seen in {n.first} but not in {n.second}"),
    "second": ("{n.second} shows {x}, but {n.first} does not", "{x} can be seen in {n.second} but not in {n.first}"),
    "one": ("{n.one} shows {x}", "{x} can be seen in {n.one}"),
    "same": ("{n.both} show {x}, and the {y} is the same", "{x} can be seen in {n.both}, with the same {y}"),
    "different": ("{n.both} show {x}, but the {y} is not the same", "{x} can be seen in {n.both}, but with a different {y}"),
}
WORDINGS = 2
"""Number of wordings of each template."""


def state(claim: Claim, kind: Kind, wording: int, abstracts: Mapping[str, str] | None = None) -> str:
    """Return the statement of a claim.

    Args:
        claim: the claim.
        kind: what the two visuals are.
        wording: 0 or 1.
        abstracts: sentences of verbs, see `LoadedSituations.abstracts`. A role other than the agent
            is put into the sentence of its verb.
    """
    return _sentence(claim, kind, claim.relation, wording, abstracts or {})


def reasons(
    claim: Claim, kind: Kind, found: Way, rng: random.Random, abstracts: Mapping[str, str] | None = None
) -> tuple[tuple[str, str, str], int] | None:
    """Return three reasons why a false statement is false, and the index of the right one.

    Args:
        claim: the claim.
        kind: what the two visuals are.
        found: the way that the visuals relate.
        rng: source of the order.
        abstracts: sentences of verbs, see `state`.

    Returns:
        None if the statement is not false in three ways.
    """
    ways = list(FALSE_WAYS[claim.relation])
    if len(ways) != 3:
        return None
    rng.shuffle(ways)
    first, second, third = (_sentence(claim, kind, each, 1, abstracts or {}) for each in ways)
    return (first, second, third), ways.index(found)


def with_reason(question: str, reason: str) -> str:
    """Return the text that a classifier scores for a reason: the question followed by it."""
    return f"{question} {reason}"


def phrase(claim: Claim, abstracts: Mapping[str, str] | None = None) -> str:
    """Return the topic of a claim as it is written in its statement and its reasons."""
    if claim.topic == "object":
        return with_article(claim.noun)
    if claim.topic == "action" or not claim.noun:
        return claim.verb
    if claim.role == "agent":
        return f"{with_article(claim.noun)} {claim.verb}"
    clause = _clause((abstracts or {}).get(claim.verb, ""), claim.role, claim.noun)
    return f"that {clause}" if clause else f"{claim.verb} with {with_article(claim.noun)} as the {claim.role}"


def _sentence(claim: Claim, kind: Kind, meaning: Way | Relation, wording: int, abstracts: Mapping[str, str]) -> str:
    compared = "action" if claim.topic == "object" else claim.role
    text = _TEXTS[meaning][wording].format(n=_NAMES[kind], x=phrase(claim, abstracts), y=compared)
    return f"{text[0].upper()}{text[1:]}."


_PLACEHOLDER = re.compile(r"(?:\b(?:an?|the|some|his|her|its|their)\s+)?\b([A-Z]{2,})\b")


def _clause(abstract: str, role: str, noun: str) -> str:
    """Return a verb's sentence with one role filled: "someone or something clings to a rock".

    Other roles are "someone or something"; a final "at a PLACE" is left out. Returns "" if the
    sentence does not have the role.
    """
    if role.upper() not in _PLACEHOLDER.findall(abstract):
        return ""
    if role != "place":
        abstract = re.sub(r",?\s+(?:at|in|on)\s+(?:an?\s+|the\s+)?PLACE\b\.?$", "", abstract.strip())
    fill = {role.upper(): with_article(noun)}
    return _PLACEHOLDER.sub(lambda found: fill.get(found[1], "someone or something"), abstract).rstrip(".")
