"""Training batches for the tiny question writer, from stories of the world's train split.

A row is one of the four prompts of dataset construction (`prompts/tiny/annotate`) over captions as
the captioner gives them, and the reply to it, the JSON of `agents.annotate.graph.replies`:

- write: captions -> the story's questions whose acts the captions show, and their answers;
- filter: captions and a pair -> what the captions say, and whether to keep the pair. Bad pairs have
  another option as their answer, ask what the captions do not show, ask for an opinion, or
  contradict the order of the clip. Most of those that ask what is not shown are questions of the
  clip with one of its other things in the place of a named one;
- evidence: captions and a pair -> the captions that the answer follows from, and what they name;
- distract: captions and a pair -> three wrong answers.

The last training of the shipped writer was on these batches: the order of random draws and all
texts must not change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel
from torch.utils.data import Dataset
from transformers import Qwen2Tokenizer

import prompts
from agents.annotate.graph.replies import Citation, Distractors, Review, WrittenPair, WrittenPairs
from agents.answer.select import distinct_positions
from espresso import world
from espresso.models.chat import Message
from espresso.schema import Task
from espresso.world import Motif
from espresso.world.cast import THING, things_in
from espresso.world.check import conclude
from finetune.tiny.config import TinyConfig
from finetune.tiny.data import TRAIN_STORIES, Batch, MarkedConversation, collate, corrupt_caption

CORRUPTED_CAPTIONS = 0.03
"""Share of captions with a wrong colour, shape or vehicle; the replies are those of the clip."""
SHARES = {"write": 0.3, "filter": 0.45, "evidence": 0.1, "distract": 0.15}
"""Share of the batches of each kind."""
REVIEWS = {"good": 0.35, "wrong": 0.3, "swapped": 0.25, "unseen": 0.04, "subjective": 0.03, "discontinuous": 0.03}
"""Share of the pairs of each kind that the filter reviews."""

UNSEEN = Review(reason="the captions do not show this", consistent=False, objective=True, continuous=True)
SUBJECTIVE = Review(reason="a matter of opinion", consistent=True, objective=False, continuous=True)
DISCONTINUOUS = Review(reason="against the order of the video", consistent=True, objective=True, continuous=False)

OPINIONS = (
    ("Do you like the {}?", "yes, the {}"),
    ("Which thing is the nicest?", "the {}"),
    ("What would you say to the {}?", "it depends"),
    ("What might the {} do tomorrow?", "anything"),
)
"""Subjective and open-ended questions with an answer."""


@dataclass(frozen=True)
class ShownStory:
    """A story as a captioner describes it."""

    captions: tuple[dict[str, object], ...]
    """The inputs of a prompt: number, time and text of each caption."""

    motifs: tuple[tuple[Motif, tuple[int, ...]], ...]
    """The questions whose acts the captions show, in the order of these acts, each with the
    positions of the captions that show them."""

    acts: tuple[dict[str, Any], ...]
    """All acts, as `espresso.world.check` reads them."""

    captions_of: tuple[int | None, ...]
    """The position of the caption that shows each act; None if no caption does."""


def show_story(rng: np.random.Generator, index: int) -> ShownStory:
    """Caption a story of the train split at about one frame per second."""
    story = world.story("train", index)
    step = max(float(rng.uniform(0.8, 1.0)), story.duration / 16)
    times = [round(float(time), 1) for time in np.arange(rng.uniform(0, 1.0), story.duration, step)]
    kept = [times[position] for position in distinct_positions([story.caption(time) for time in times])]
    texts = [story.caption(time) for time in kept]
    beats = [story.beat_at(time) for time in kept]
    texts = [text if rng.random() > CORRUPTED_CAPTIONS else corrupt_caption(rng, text) for text in texts]
    captions = tuple({"number": n, "time": time, "text": text} for n, (time, text) in enumerate(zip(kept, texts, strict=True), 1))
    captions_of = tuple(next((n for n, beat in enumerate(beats) if beat is act), None) for act in story.beats)
    motifs = []
    for motif, needed in zip(story.motifs, story.needed, strict=True):
        shown = tuple(n for i in needed if (n := captions_of[i]) is not None)
        if len(shown) == len(needed):
            motifs.append((motif, shown))
    acts = tuple(
        {"verb": act.verb, "doer": act.doer and str(act.doer), "target": act.target and str(act.target), "value": act.value}
        for act in story.beats
    )
    return ShownStory(captions, tuple(sorted(motifs, key=lambda each: each[1])), acts, captions_of)


class WriterBatches(Dataset[Batch]):
    """Batches for the writer, each of one kind of prompt.

    Args:
        config: training configuration; `writer_batch`, `batches` and `seed` are used.
        tokens: the writer's tokenizer.
    """

    def __init__(self, config: TinyConfig, tokens: Qwen2Tokenizer) -> None:
        self.config, self.tokens = config, tokens

    def __len__(self) -> int:
        return self.config.batches

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.config.seed, 1, index])
        kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        rows = list[MarkedConversation]()
        while len(rows) < self.config.writer_batch:
            rows += [((*prompt, reply), frozenset()) for prompt, reply in draw_rows(rng, kind)]
        return collate(rows[: self.config.writer_batch], self.tokens)


def draw_rows(rng: np.random.Generator, kind: str) -> Iterator[tuple[tuple[Message, ...], Message]]:
    """Yield the rows of one kind about one story: prompt and reply."""
    story = show_story(rng, int(rng.integers(TRAIN_STORIES)))
    if kind == "write":
        pairs = [
            WrittenPair(task=motif.task, question=motif.text, reasoning=_facts(story, shown), answer=motif.answer)
            for motif, shown in story.motifs
        ]
        yield _row(kind, story, WrittenPairs(pairs=pairs), count=2)
        return
    for motif, shown in story.motifs:
        pair = {"question": motif.text, "answer": motif.answer}
        if kind == "filter":
            question, answer, review = _draw_review(rng, story, motif, shown)
            yield _row(kind, story, review, question=question, answer=answer)
        elif kind == "evidence":
            yield _row(kind, story, cite(story.captions, shown), **pair)
        else:
            wrong = sorted(option for option in motif.options if option != motif.answer)
            yield _row(kind, story, Distractors(distractors=wrong), **pair)


def _row(kind: str, story: ShownStory, reply: BaseModel, **inputs: object) -> tuple[tuple[Message, ...], Message]:
    prompt = prompts.render(f"annotate/{kind}", style="tiny", captions=story.captions, **inputs)
    return prompt.messages, Message("assistant", (reply.model_dump_json(),))


def cite(captions: Sequence[dict[str, object]], positions: Sequence[int]) -> Citation:
    """Return the citation of the captions at these positions."""
    cited = [captions[position] for position in positions]
    return Citation(
        captions=[str(caption["text"]) for caption in cited],
        key_items=list(dict.fromkeys(item for caption in cited for item in things_in(str(caption["text"])))),
        evidence=" ".join(f"{caption['time']:.1f}s: {caption['text']}." for caption in cited),
    )


def _facts(story: ShownStory, positions: Sequence[int]) -> str:
    return ". ".join(str(story.captions[position]["text"]) for position in positions)


def _draw_review(rng: np.random.Generator, story: ShownStory, motif: Motif, shown: Sequence[int]) -> tuple[str, str, Review]:
    """Draw a pair and the review that it deserves: question, answer, review."""
    kind = rng.choice(list(REVIEWS), p=list(REVIEWS.values()))
    if kind == "wrong":
        wrong = [option for option in motif.options if option != motif.answer]
        given = str(rng.choice(wrong))
        return motif.text, given, _compare(story, shown, motif.answer, given)
    if kind == "swapped" and (question := _swap_name(rng, story, motif.text)):
        return question, motif.answer, _conclude(story, question, motif.answer)
    if kind == "unseen":
        other = show_story(rng, int(rng.integers(TRAIN_STORIES))).motifs
        foreign = [each for each, _ in other if each.task not in (Task.NARRATIVE, Task.INGREDIENT, Task.TRAFFIC)]
        named = [each for each in foreign if not _names(each.text) <= _names(" ".join(str(c["text"]) for c in story.captions))]
        if named:
            return named[0].text, named[0].answer, UNSEEN
    if kind == "subjective":
        question, answer = OPINIONS[rng.integers(len(OPINIONS))]
        thing = str(rng.choice(sorted(_names(motif.text)) or ["red square"]))
        return question.format(thing), answer.format(thing), SUBJECTIVE
    if kind == "discontinuous":
        late, early = str(story.captions[-1]["text"]), str(story.captions[0]["text"])
        if late != early:
            return f"After {late}, why is it that {early}?", motif.answer, DISCONTINUOUS
    return motif.text, motif.answer, _compare(story, shown, motif.answer, motif.answer)


def _compare(story: ShownStory, positions: Sequence[int], answer: str, given: str) -> Review:
    """Put the true and the given answer side by side, so that a small model can compare them."""
    reason = f"{_facts(story, positions)}: {answer}; given: {given}"
    return Review(reason=reason, consistent=given == answer, objective=True, continuous=True)


def _conclude(story: ShownStory, question: str, given: str) -> Review:
    """Review an answer to a question that the story may not answer."""
    conclusion = conclude(story.acts, question, given)
    shown = [n for act in conclusion.needed if (n := story.captions_of[act]) is not None] if conclusion else []
    if conclusion is None or len(shown) < len(conclusion.needed):
        return UNSEEN
    return _compare(story, shown, conclusion.answer, given)


def _swap_name(rng: np.random.Generator, story: ShownStory, question: str) -> str | None:
    """Name another thing of the story in a question; None if there is none to swap."""
    named = sorted(_names(question))
    others = sorted(_names(" ".join(str(caption["text"]) for caption in story.captions)) - set(named))
    return question.replace(str(rng.choice(named)), str(rng.choice(others))) if named and others else None


def _names(text: str) -> set[str]:
    return set(THING.findall(text))


def corpus() -> Iterator[str]:
    """Yield text as the writer reads and writes it, to train the tokenizer on."""
    rng = np.random.default_rng(0)
    for kind in SHARES:
        for _ in range(500):
            for prompt, reply in draw_rows(rng, kind):
                yield "".join(str(part) for part in prompt[-1].content)
                yield str(reply.content[0])
