"""What construction makes of one video: questions, and rejected pairs with reasons."""

from __future__ import annotations

from collections.abc import Sequence

from agents.annotate.graph.state import AnnotateState, Distractor, Fault, Group, Pair
from espresso.log import LogEntry
from espresso.schema import KeyItem, Question, Record, Span, Step, Task, Truth, Visual

GUESSED = 0.6
"""Probability from which an answer counts as known without the video."""


class RejectedPair(LogEntry):
    """A pair that did not become a question."""

    visuals: tuple[str, ...]
    """Path of the video."""

    task: Task

    text: str
    """The question."""

    answer: str

    node: str
    """The node that rejected it, such as "filter"."""

    reason: str


class NodeCost(Record):
    """What a node of the graph cost for one video."""

    node: str

    requests: int

    tokens_in: int

    tokens_out: int

    seconds: float
    """Sum over its requests; many run at the same time."""


class VideoAnnotation(LogEntry):
    """The result of one video; its id is the digest of the video's content."""

    source: str
    """Path of the video."""

    visual: Visual | None = None

    error: str | None = None
    """Why the video was skipped."""

    frames: int = 0
    """Sampled frames."""

    groups: tuple[Group, ...] = ()

    questions: tuple[Question, ...] = ()
    """With the answer first among the options, if there are options."""

    rejected: tuple[RejectedPair, ...] = ()

    boxes_found: int = 0
    """Boxes that the detector found in the core frames."""

    items: int = 0
    """Key items that were looked for in the core frames."""

    notes: tuple[str, ...] = ()

    costs: tuple[NodeCost, ...] = ()

    def at(self, source: str) -> VideoAnnotation:
        """Return the result for another path of the same video, which may have been moved."""
        questions = tuple(each.model_copy(update={"visuals": (source,)}) for each in self.questions)
        rejected = tuple(each.model_copy(update={"visuals": (source,)}) for each in self.rejected)
        return self.model_copy(update={"source": source, "questions": questions, "rejected": rejected})


def assemble(state: AnnotateState) -> VideoAnnotation:
    """Make the result of a video of the graph's final state."""
    assert state.visual
    questions, rejected, seen = list[Question](), list[RejectedPair](), set[str]()
    for pair in state.pairs:
        found = _reject(state, pair)
        if not found and pair.question.casefold() in seen:
            found = Fault(node="write", reason="the question was written before")
        if found:
            rejected.append(
                RejectedPair(
                    id=_id(state.visual, pair),
                    visuals=(state.source,),
                    task=pair.task,
                    text=pair.question,
                    answer=pair.answer,
                    node=found.node,
                    reason=found.reason,
                )
            )
        else:
            seen.add(pair.question.casefold())
            questions.append(_question(state, pair))
    return VideoAnnotation(
        id=state.visual.digest,
        source=state.source,
        visual=state.visual,
        frames=len(state.frames),
        groups=state.groups,
        questions=tuple(questions),
        rejected=tuple(rejected),
        boxes_found=sum(each.detected for each in state.groundings),
        items=sum(len(each.items) for each in state.groundings),
        notes=state.notes,
        costs=costs(state.trace),
    )


def _id(visual: Visual, pair: Pair) -> str:
    return f"{visual.digest[:12]}-{pair.id}"


def _reject(state: AnnotateState, pair: Pair) -> Fault | None:
    """Return why a pair is rejected; None keeps it."""
    if pair.id in state.faults:
        return state.faults[pair.id]
    review = state.reviews[pair.id]
    criteria = {"consistent": review.consistent, "objective": review.objective, "continuous": review.continuous}
    if broken := [name for name, holds in criteria.items() if not holds]:
        why = f": {review.reason}" if review.reason else ""
        return Fault(node="filter", reason=f"not {' and not '.join(broken)}{why}")
    possible = [each.text for each in _distractors(state, pair) if each.review is None or each.review.consistent]
    if possible:
        return Fault(node="check", reason=f"the distractor {possible[0]!r} may be correct")
    guesses = [each.probability for each in state.guesses if each.pair == pair.id]
    if guesses and min(guesses) >= GUESSED:
        return Fault(node="guess", reason=f"the answer is known without the video (probability {min(guesses):.2f})")
    return None


def _distractors(state: AnnotateState, pair: Pair) -> list[Distractor]:
    return sorted((each for each in state.distractors if each.pair == pair.id), key=lambda each: each.position)


def _question(state: AnnotateState, pair: Pair) -> Question:
    assert state.visual
    evidence = state.evidence[pair.id]
    groundings = sorted((each for each in state.groundings if each.pair == pair.id), key=lambda each: each.frame.index)
    items = [item for each in groundings for item in each.items]
    wrong = tuple(each.text for each in _distractors(state, pair))
    return Question(
        id=_id(state.visual, pair),
        visuals=(state.source,),
        text=pair.question,
        options=(pair.answer, *wrong) if wrong else None,
        task=pair.task,
        answer=pair.answer,
        truth=Truth(
            spans=tuple(Span(start=round(each.scene.start, 3), end=round(each.scene.end, 3)) for each in evidence.scenes),
            facts=tuple(each.scene.text for each in evidence.scenes),
            evidence=evidence.text,
            key_items=tuple(items)
            or tuple(KeyItem(label=label, frame=evidence.scenes[0].scene.core) for label in evidence.labels),
        ),
    )


def costs(trace: Sequence[Step]) -> tuple[NodeCost, ...]:
    """Sum the steps of each node, in the order in which the nodes first ran."""
    steps = {node: [step for step in trace if step.node == node] for node in dict.fromkeys(step.node for step in trace)}
    return tuple(
        NodeCost(
            node=node,
            requests=sum(step.model is not None and not step.cached for step in own),
            tokens_in=sum(step.tokens_in for step in own),
            tokens_out=sum(step.tokens_out for step in own),
            seconds=sum(step.seconds for step in own),
        )
        for node, own in steps.items()
    )
