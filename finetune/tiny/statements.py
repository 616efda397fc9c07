"""Training batches for the tiny writer of statements about pairs: RAIV's "G" datasets in miniature.

A row is the prompt of `agents.raiv_write` about two visuals of the world's train split, with the
fact that the statement must affirm, and a statement. Where RAIV asks a chat model, there is a
grammar here, from which the writer learns: it says who does what, joins or compares the two
visuals, and has eight forms. Which form it takes depends on the colour of a thing that is named,
so that greedy decoding uses them all. None of them is a template of `espresso.datasets.raiv`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from torch.utils.data import Dataset
from transformers import Qwen2Tokenizer

import prompts
from agents.raiv_write import WrittenStatement
from espresso.datasets.raiv import world
from espresso.datasets.raiv.contrast import Brief, briefs
from espresso.datasets.raiv.pairs import build_split
from espresso.datasets.raiv.situations import Situation
from espresso.datasets.raiv.statements import KINDS, names
from espresso.datasets.raiv.words import with_article
from espresso.models.chat import Message
from espresso.world.cast import COLOURS
from finetune.tiny.config import TinyConfig
from finetune.tiny.data import Batch, MarkedConversation, collate

FIRST_STORY = 8_000_000
"""Index of the first story of the train split that the statements are about."""
PAIRS = 12_000
"""Pairs of each kind of which statements are written."""
CORPUS = 2000
"""Rows to train the tokenizer on."""

_TO = {"giving a box": " to"}
"""Action -> word before its target."""


class StatementBatches(Dataset[Batch]):
    """Batches of rows for the writer of statements.

    Args:
        config: training configuration; `writer_batch`, `batches` and `seed` are used.
        tokens: the writer's tokenizer.
    """

    def __init__(self, config: TinyConfig, tokens: Qwen2Tokenizer) -> None:
        self.config, self.tokens = config, tokens

    def __len__(self) -> int:
        return self.config.batches

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.config.seed, 2, index])
        chosen = rng.choice(len(rows()), self.config.writer_batch)
        drawn: list[MarkedConversation] = [((*prompt, reply), frozenset()) for prompt, reply in (rows()[row] for row in chosen)]
        return collate(drawn, self.tokens)


@cache
def rows() -> list[tuple[tuple[Message, ...], Message]]:
    """Return all rows: prompt and reply."""
    situations = world.read(("image", "video"), {"train": world.stories_for(PAIRS)["train"]}, first=FIRST_STORY).situations
    known = {each.visual: each for each in situations}
    found = list[tuple[tuple[Message, ...], Message]]()
    for kind in KINDS:
        pairs = list(build_split(kind, situations, "train", PAIRS, 0))
        for brief in briefs(pairs, known, 0, common=1.0):
            first, second = (known[visual] for visual in brief.pair.visuals)
            reply = WrittenStatement(statement=compose(brief, first, second))
            found.append((ask(brief), Message("assistant", (reply.model_dump_json(),))))
    return found


def ask(brief: Brief) -> tuple[Message, ...]:
    """Return the prompt for the statement of a brief."""
    first, second = names(brief.pair.kind)
    given = {"annotations": (brief.first, brief.second), "words": brief.words, "where": brief.where}
    return prompts.render("raiv/write", style="tiny", first=first, second=second, **given).messages


def corpus() -> Iterator[str]:
    """Yield text as the writer reads and writes it, to train the tokenizer on."""
    for prompt, reply in rows()[:: max(1, len(rows()) // CORPUS)]:
        yield "".join(str(part) for part in prompt[-1].content)
        yield str(reply.content[0])


def compose(brief: Brief, first: Situation, second: Situation) -> str:
    """Compose the statement of a brief about the situations of its visuals."""
    places = names(brief.pair.kind)
    side = places.index(brief.where)
    here, there = places[side], places[1 - side]
    x, y = ((first, second), (second, first))[side]
    agent = x.roles.get("agent", "")
    if brief.noun and brief.noun not in x.roles.values():
        noun = with_article(brief.noun)
        text = (
            f"{noun} can be seen in {here}, and in {there}, {_clause(y)}",
            f"{here} shows {noun}, and {there} shows {_phrase(y)}",
            f"in {there}, {_clause(y)}, and {here} shows {noun}",
            f"in {here}, {_clause(x)}, and {noun} can be seen there",
        )[_form(brief.noun)]
    else:
        text = (
            f"in {here}, {_clause(x)}, and {there} shows {_phrase(y)}",
            f"{here} shows {_phrase(x)}, and in {there}, {_clause(y)}",
            f"{there} shows {_phrase(y)}, and {here} shows {_phrase(x)}",
            f"{_clause(x)} in {here}, and in {there}, {_clause(y)}",
        )[_form(agent)]
    return f"{text[0].upper()}{text[1:]}."


def _form(named: str) -> int:
    """Return the form of a statement, 0 to 3, from the colour of a thing."""
    colour = named.partition(" ")[0]
    return list(COLOURS).index(colour) % 4 if colour in COLOURS else 0


def _action(situation: Situation) -> str:
    """Return the action with its target: "hitting a blue square"."""
    target = situation.roles.get("target")
    return f"{situation.verb}{_TO.get(situation.verb, '')} {with_article(target)}" if target else situation.verb


def _clause(situation: Situation) -> str:
    """Return what happens, as a clause."""
    agent = situation.roles.get("agent")
    return f"{with_article(agent)} is {_action(situation)}" if agent else f"the action is {_action(situation)}"


def _phrase(situation: Situation) -> str:
    """Return what happens, as a phrase after "shows"."""
    agent = situation.roles.get("agent")
    return f"{with_article(agent)} {_action(situation)}" if agent else f"the action {_action(situation)}"
