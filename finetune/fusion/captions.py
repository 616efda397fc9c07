"""Captions of visuals, and the situations that they say.

The world's acts have exact annotations, and `describe` writes captions from them. Real captions
have words only: `situation` finds verb, roles and objects in them with a dependency parse. (The
paper runs a BERT model for semantic role labelling, Shi and Lin 2019; its library is no longer
maintained.)
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from espresso.datasets.raiv.situations import Situation, VisualReference
from espresso.datasets.raiv.words import participle, with_article
from espresso.datasets.rows import BadRow, read_rows
from espresso.errors import DataError
from espresso.schema import Record

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Token

logger = logging.getLogger(__name__)

MOST_OBJECTS = 3
"""Objects that a caption of the world names besides those that act."""

WORDINGS = ("{}", "the picture shows {}", "{} can be seen")


class Captioned(Record):
    """An image or a video with its captions: one line of a file."""

    visual: VisualReference

    captions: tuple[str, ...]
    """Sentences that describe it, such as the five of COCO-Captions."""


def describe(situation: Situation, rng: random.Random) -> str:
    """Return a caption of an act of the world: who does what, some of the objects, or both.

    What a caption says varies, as among the five captions of an image in COCO. A model that reads
    complete captions only does not learn whether a single thing is there.
    """
    agent, target = situation.roles.get("agent"), situation.roles.get("target")
    act = " ".join(filter(None, (agent and with_article(agent), situation.verb, target and with_article(target))))
    with_act = bool(act) and (not situation.objects or rng.random() < 0.6)
    others = [noun for noun in situation.objects if not with_act or noun not in (agent, target)]
    seen = rng.sample(others, min(rng.randint(0 if with_act else 1, MOST_OBJECTS), len(others)))
    return rng.choice(WORDINGS).format(", ".join([*([act] if with_act else []), *map(with_article, seen)]))


def load(path: Path, pipeline: str) -> list[Situation]:
    """Load captioned images and videos, and find the situations in their captions.

    Visuals whose captions have no verb are left out.

    Args:
        path: JSONL file of `Captioned` records.
        pipeline: name of the spaCy pipeline.

    Raises:
        DataError: the file cannot be read, or spaCy or its pipeline is not installed.
    """
    parser = _parser(pipeline)
    found = list[Situation]()
    for number, captioned in enumerate(_read(path)):
        parsed = situation(f"{path.stem}-{number}", captioned.visual, list(parser.pipe(captioned.captions)))
        if parsed is not None:
            found.append(parsed)
    return sorted(found, key=lambda each: each.visual.path)


def _parser(name: str) -> Language:
    try:
        import spacy  # noqa: PLC0415 - an extra

        return spacy.load(name)
    except ImportError:
        raise DataError("captions are parsed by spaCy, which is not installed. Run `pip install videoespresso[raiv]`.") from None
    except OSError:
        raise DataError(f"the spaCy pipeline {name} is not installed. Run `python -m spacy download {name}`.") from None


def _read(path: Path) -> Iterator[Captioned]:
    bad = list[BadRow]()
    for where, row in read_rows(path, bad):
        try:
            yield Captioned.model_validate(row)
        except ValidationError as error:
            first = error.errors()[0]
            bad.append(BadRow(where, f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"))
    if bad:
        logger.warning("%s: %s rows are left out. The first: %s.", path, len(bad), bad[0])


_SUBJECTS, _OBJECTS = ("nsubj", "agent"), ("dobj", "obj", "nsubjpass", "nsubj:pass")


def situation(name: str, visual: VisualReference, captions: Sequence[Doc]) -> Situation | None:
    """Return the situation that parsed captions say, or None if no caption has a verb.

    The verb is that of the first caption with one. Its roles are the subject (agent), the object
    (target) and the objects of its prepositions, by their nouns without articles and adjectives.
    The objects are all nouns of all captions.

    Args:
        name: id of the situation.
        visual: what the captions describe.
        captions: the captions, parsed by a spaCy pipeline.
    """
    nouns = {_noun(token) for caption in captions for token in caption if token.pos_ in ("NOUN", "PROPN")}
    for caption in captions:
        verb = next((token for token in caption if token.pos_ == "VERB"), None)
        if verb is not None:
            return Situation(name, "train", visual, participle(verb.lemma_.lower()), dict(_roles(verb)), tuple(sorted(nouns)))
    return None


def _noun(token: Token) -> str:
    return token.lemma_.lower()


def _roles(verb: Token) -> Iterator[tuple[str, str]]:
    # "a man riding a horse": the participle's subject is the noun that it describes.
    subject = next((child for child in verb.children if child.dep_ in _SUBJECTS), verb.head if verb.dep_ == "acl" else None)
    if subject is not None and subject.pos_ in ("NOUN", "PROPN"):
        yield "agent", _noun(subject)
    for child in verb.children:
        if child.dep_ in _OBJECTS and child.pos_ in ("NOUN", "PROPN"):
            yield "target", _noun(child)
        if child.dep_ == "prep":
            yield from ((child.lemma_.lower(), _noun(inner)) for inner in child.children if inner.dep_ == "pobj")
