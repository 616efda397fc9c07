"""Training batches for the tiny judge: answers spoilt in known ways, and what is to be said of them.

A row is the judge's prompt and its reply, the JSON of `agents.judge.Judgement`: the scores that `eval.judge_audit.perturb` derives from
the truth, each with a sentence that says what is wrong. Questions, things and wordings are the train split's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import Qwen2Tokenizer

import prompts
from agents.judge import CRITERIA, Criterion, Judgement
from espresso.models.chat import Message
from espresso.world import questions_of, story
from eval.judge_audit import perturb as corruption
from eval.judge_audit.perturb import Version
from finetune.tiny.config import TinyConfig
from finetune.tiny.data import TRAIN_STORIES, Batch, Row, collate

REASONS: dict[corruption.Kind, str] = {
    "right": "right",
    "wrong thing": "not what happened",
    "wrong option": "not what happened",
    "wrong order": "not the right order",
    "invented event": "not all of it happened",
    "hedging": "left open",
    "rambling": "goes on and on",
    "off topic": "not about this",
}
"""What is said of a criterion that suffers; of one that does not, that it is right."""
PER_QUESTION = 4
"""Answers to one question in a batch: what tells them apart is what is to be learnt."""
INJECTED = 0.4
"""Share of answers that say something to their judge."""
SHORT = 0.7
"""Share of batches whose replies end with the first criterion."""
PLAIN = ("right", "wrong thing", "wrong option", "wrong order")
"""What only a look at the reference tells apart."""
_WEIGHTS = {"right": 3.0, "wrong thing": 2.0, "wrong option": 1.0, "wrong order": 1.5}


def judgement(version: Version) -> Judgement:
    """The reply that an answer deserves."""
    scores = {name: getattr(version.verdict, name) for name in CRITERIA}
    said = {name: REASONS[version.kind] if score < 10 else REASONS["right"] for name, score in scores.items()}
    return Judgement(**{name: Criterion(reason=said[name], score=score) for name, score in scores.items()})


def words() -> Iterator[str]:
    """Text as the judge will read and write it, from the train split."""
    rng = np.random.default_rng(0)
    for _, _, version in _drawn(rng, 3000):
        yield f"A: {version.answer}\njudge"
        yield judgement(version).model_dump_json()


class JudgeBatches(Dataset[Batch]):
    """Batches for the judge: question, reference and an answer -> its judgement.

    Comparing comes first: answers that are right or wrong in themselves, with nothing around them by which that could be
    guessed. Everything at once was answered from what stands around the answers: after 400 batches "the red star" beside "the
    red star" was still not what happened (docs/LOG.md). And until most batches are over, the reply ends with its first criterion,
    which holds all that is hard about it.
    """

    def __init__(self, config: TinyConfig, tokens: Qwen2Tokenizer) -> None:
        self.config, self.tokens = config, tokens

    def __len__(self) -> int:
        return self.config.batches

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.config.seed, 1, index])
        plain = index < self.config.batches * self.config.comparing
        short = index < self.config.batches * SHORT
        rows: list[Row] = []
        for question, reference, version in _drawn(rng, self.config.judge_batch * (2 if short else 1), plain=plain):
            prompt = prompts.render(
                "judge", style="tiny", question=question, reference=reference, answer=version.answer, frames=[]
            )
            said = judgement(version).model_dump_json()
            reply = Message("assistant", (said.partition("},")[0] if short else said,))
            rows.append(((*prompt.messages, reply), frozenset()))
        batch = marked(collate(rows, self.tokens), self.tokens)
        if short:  # that a reply ends there is not to be learnt
            batch["labels"][batch["input_ids"] == self.tokens.eos_token_id] = -100
        return batch


def marked(batch: Batch, tokens: Qwen2Tokenizer) -> Batch:
    """The same batch, each telling token of an answer marked: 1 where the reference has it after the last such one, else 0.

    What a throw-away head learns of them is to look each word up, and its place: many signals a row where the reply has one.
    """
    reference, answer = (tokens.encode(line)[0] for line in ("R:", "A:"))
    silent = set(tokens("the the a a it it is is from from to to and then, . first")["input_ids"])
    marks = torch.full_like(batch["marks"], -100)
    for row, ids in enumerate(batch["input_ids"].tolist()):
        start = ids.index(reference)
        middle = ids.index(answer, start)
        end = ids.index(tokens.eos_token_id, middle) - 2  # without the line that ends the prompt
        told, last = ids[start + 2 : middle], -1
        for place in range(middle + 2, end):
            if ids[place] in silent:
                continue
            found = next((n for n, token in enumerate(told) if token == ids[place] and n > last), None)
            marks[row, place] = int(found is not None)
            last = last if found is None else found
    return batch | {"marks": marks}


def _drawn(rng: np.random.Generator, count: int, *, plain: bool = False) -> Iterator[tuple[str, str, Version]]:
    """Draw so many answers, each with question and reference: several to a question, kinds by weight; all or plain ones alone."""
    foreign: list[str] = []
    left = count
    while left > 0:
        for question in questions_of(story("train", int(rng.integers(TRAIN_STORIES))), ""):
            spoilt = corruption.versions(question, foreign, rng, "train")
            foreign = [*foreign[-9:], str(question.answer)]
            if plain:
                spoilt = [version for version in spoilt if version.kind in PLAIN]
            for version in _pick(rng, spoilt, min(PER_QUESTION, left)):
                ways = [] if plain else corruption.injected(version, rng, "train")
                says = ways and rng.random() < INJECTED
                yield question.text, str(question.answer), ways[rng.integers(len(ways))] if says else version
                left -= 1


def _pick(rng: np.random.Generator, spoilt: Sequence[Version], count: int) -> Iterator[Version]:
    kinds = sorted({version.kind for version in spoilt})
    weights = np.array([_WEIGHTS.get(kind, 1.0) for kind in kinds])
    for kind in rng.choice(kinds, count, p=weights / weights.sum()):
        alike = [version for version in spoilt if version.kind == kind]
        yield alike[rng.integers(len(alike))]
