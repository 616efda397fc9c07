"""Training batches for the tiny judge: perturbed answers and the judgements they deserve.

A row is the judge's prompt and its reply, the JSON of `agents.judge.Judgement`: the scores that
`eval.judge_audit.perturb` derives from the ground truth, each with a short reason. Questions,
things and wordings come from the train split.

The shipped judge was trained on these rows: the order of random draws and all texts must not
change.
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
from eval.judge_audit.perturb import AnswerVariant, Kind, inject, make_variants
from finetune.tiny.config import TinyConfig
from finetune.tiny.data import IGNORE_INDEX, TRAIN_STORIES, Batch, MarkedConversation, collate

REASONS: dict[Kind, str] = {
    "right": "right",
    "wrong thing": "not what happened",
    "wrong option": "not what happened",
    "wrong order": "not the right order",
    "invented event": "not all of it happened",
    "hedging": "left open",
    "rambling": "goes on and on",
    "off topic": "not about this",
}
"""The reason for a reduced score; a criterion with the full score gets the one of "right"."""

ANSWERS_PER_QUESTION = 4
"""Answers to the same question in a batch, so that the model learns from their differences."""

INJECTION_RATE = 0.4
"""Share of answers with an injection."""

SHORT_REPLIES = 0.7
"""Share of the batches, the first ones, with replies that end after the first criterion."""

COMPARISON_KINDS = ("right", "wrong thing", "wrong option", "wrong order")
"""Kinds that differ only in whether they match the reference, not in style."""

_WEIGHTS = {"right": 3.0, "wrong thing": 2.0, "wrong option": 1.0, "wrong order": 1.5}  # others: 1


def judgement(variant: AnswerVariant) -> Judgement:
    """Return the reply that an answer deserves."""
    scores = {name: getattr(variant.verdict, name) for name in CRITERIA}
    reasons = {name: REASONS[variant.kind] if score < 10 else REASONS["right"] for name, score in scores.items()}
    return Judgement(**{name: Criterion(reason=reasons[name], score=score) for name, score in scores.items()})


def corpus() -> Iterator[str]:
    """Yield text as the judge reads and writes it, to train the tokenizer on."""
    rng = np.random.default_rng(0)
    for _, _, variant in _draw_answers(rng, 3000):
        yield f"A: {variant.answer}\njudge"
        yield judgement(variant).model_dump_json()


class JudgeBatches(Dataset[Batch]):
    """Batches for the judge: question, reference and answer -> judgement.

    The first batches only compare: their answers are right or wrong and nothing in their style
    reveals which. Trained on all kinds from the start, the model learned the style instead: after
    400 batches it still called "the red star" wrong when the reference was "the red star"
    (docs/LOG.md). In most batches the reply ends after the first criterion, which already depends
    on the comparison.

    Args:
        config: training configuration; `judge_batch`, `batches`, `comparing` and `seed` are used.
        tokens: the judge's tokenizer.
    """

    def __init__(self, config: TinyConfig, tokens: Qwen2Tokenizer) -> None:
        self.config, self.tokens = config, tokens

    def __len__(self) -> int:
        return self.config.batches

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.config.seed, 1, index])
        only_compare = index < self.config.batches * self.config.comparing
        short = index < self.config.batches * SHORT_REPLIES
        rows: list[MarkedConversation] = []
        count = self.config.judge_batch * (2 if short else 1)
        for question, reference, variant in _draw_answers(rng, count, only_compare=only_compare):
            prompt = prompts.render(
                "judge", style="tiny", question=question, reference=reference, answer=variant.answer, frames=[]
            )
            text = judgement(variant).model_dump_json()
            reply = Message("assistant", (text.partition("},")[0] if short else text,))
            rows.append(((*prompt.messages, reply), frozenset()))
        batch = mark_matches(collate(rows, self.tokens), self.tokens)
        if short:  # the model must not learn that a reply ends here
            batch["labels"][batch["input_ids"] == self.tokens.eos_token_id] = IGNORE_INDEX
        return batch


def mark_matches(batch: Batch, tokens: Qwen2Tokenizer) -> Batch:
    """Mark each content token of the answers, as targets of an auxiliary head.

    A mark is 1 if the reference has the token after the last match, else 0, so the head learns to
    look up each word and its position. This gives many targets per row, where the reply has one.

    Args:
        batch: a batch of `collate`, made from prompts of the judge.
        tokens: the judge's tokenizer.
    """
    reference, answer = (tokens.encode(line)[0] for line in ("R:", "A:"))
    stop_tokens = set(tokens("the the a a it it is is from from to to and then, . first")["input_ids"])
    marks = torch.full_like(batch["marks"], IGNORE_INDEX)
    for row, ids in enumerate(batch["input_ids"].tolist()):
        start = ids.index(reference)
        middle = ids.index(answer, start)
        end = ids.index(tokens.eos_token_id, middle) - 2  # without the last line of the prompt
        reference_ids, last = ids[start + 2 : middle], -1
        for place in range(middle + 2, end):
            if ids[place] in stop_tokens:
                continue
            match = next((n for n, token in enumerate(reference_ids) if token == ids[place] and n > last), None)
            marks[row, place] = int(match is not None)
            last = last if match is None else match
    return batch | {"marks": marks}


def _draw_answers(
    rng: np.random.Generator, count: int, *, only_compare: bool = False
) -> Iterator[tuple[str, str, AnswerVariant]]:
    """Draw `count` answers with question and reference: several per question, kinds by weight."""
    other_answers: list[str] = []
    remaining = count
    while remaining > 0:
        for question in questions_of(story("train", int(rng.integers(TRAIN_STORIES))), ""):
            variants = make_variants(question, other_answers, rng, "train")
            other_answers = [*other_answers[-9:], str(question.answer)]
            if only_compare:
                variants = [variant for variant in variants if variant.kind in COMPARISON_KINDS]
            for variant in _pick(rng, variants, min(ANSWERS_PER_QUESTION, remaining)):
                injected = [] if only_compare else inject(variant, rng, "train")
                use_injection = injected and rng.random() < INJECTION_RATE
                yield question.text, str(question.answer), injected[rng.integers(len(injected))] if use_injection else variant
                remaining -= 1


def _pick(rng: np.random.Generator, variants: Sequence[AnswerVariant], count: int) -> Iterator[AnswerVariant]:
    """Pick `count` variants: first the kind, by weight, then one of that kind."""
    kinds = sorted({variant.kind for variant in variants})
    weights = np.array([_WEIGHTS.get(kind, 1.0) for kind in kinds])
    for kind in rng.choice(kinds, count, p=weights / weights.sum()):
        candidates = [variant for variant in variants if variant.kind == kind]
        yield candidates[rng.integers(len(candidates))]
