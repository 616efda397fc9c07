"""The state of the construction graph: records only, so it can be saved at any node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict

from agents.annotate.graph.replies import Citation, Review
from espresso.schema import Caption, Frame, KeyItem, Record, Step, Task, Visual

Key = TypeVar("Key")
Value = TypeVar("Value")


class Scene(Record):
    """A stretch of sampled frames that show the same by their captions."""

    text: str
    """The caption of its first frame, which stands for all of them."""

    frames: tuple[Frame, ...]
    """All frames of the stretch, in time order."""

    start: float
    """Seconds: halfway between the first frame and the one before it."""

    end: float
    """Seconds: halfway between the last frame and the one after it."""

    @property
    def core(self) -> Frame:
        """The frame in the middle."""
        return self.frames[len(self.frames) // 2]


class Group(Record):
    """Up to fifteen scenes in order, about which questions are written together."""

    number: int

    scenes: tuple[Scene, ...]


class Pair(Record):
    """A question and its answer, as the writer wrote them."""

    id: str
    """Number of the group and of the pair in it, such as "0-1"."""

    group: int

    task: Task

    question: str

    answer: str


class CitedScene(Record):
    """A scene that the evidence cites."""

    text: str
    """The caption as cited."""

    scene: Scene
    """The scene with the most similar caption."""

    similarity: float
    """Cosine of the embeddings of the two."""


class CitedEvidence(Record):
    """The evidence of a pair."""

    text: str

    scenes: tuple[CitedScene, ...]
    """In time order, each once."""

    labels: tuple[str, ...]
    """The key items."""


class Grounding(Record):
    """The key items of a pair in one core frame."""

    pair: str

    frame: Frame

    items: tuple[KeyItem, ...]
    """All key items that were looked for; one has a box if it was found and verified."""

    detected: int
    """Boxes that the detector found."""


class Distractor(Record):
    """A wrong answer, if it is one."""

    pair: str

    position: int

    text: str

    review: Review | None
    """The review of the question with this answer; None if the reply could not be used."""


class Fault(Record):
    """Why a pair cannot be annotated."""

    node: str

    reason: str


class Guess(Record):
    """What the reasoner makes of a question without the video."""

    pair: str

    probability: float
    """Probability of the right option, 0 to 1."""


class PairTask(Record):
    """A pair for `filter`, `evidence` and `distract`."""

    pair: Pair

    group: Group


class MatchTask(Record):
    """A citation for `match`."""

    pair: Pair

    group: Group

    citation: Citation


class GroundTask(Record):
    """A core frame for `ground`."""

    pair: str

    frame: Frame

    labels: tuple[str, ...]
    """Key items to find in the frame."""

    others: tuple[str, ...]
    """Further key items of the pair, which a box may show by mistake."""


class CheckTask(Record):
    """A distractor for `check`."""

    pair: Pair

    group: Group

    position: int

    text: str


class GuessTask(Record):
    """A question with options for `guess`."""

    pair: Pair

    options: tuple[str, ...]
    """All options, in the order in which they are listed."""


def join(old: Sequence[Value], new: Sequence[Value]) -> tuple[Value, ...]:
    """Return both sequences in one; a checkpoint gives lists for tuples."""
    return (*old, *new)


def merge(old: Mapping[Key, Value], new: Mapping[Key, Value]) -> dict[Key, Value]:
    """Return both mappings in one."""
    return {**old, **new}


class AnnotateState(BaseModel):
    """One video on its way through the graph. Entries about a pair are kept by its id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """Path of the video."""

    visual: Visual | None = None

    frames: tuple[Frame, ...] = ()
    """The sampled frames."""

    captions: Annotated[tuple[Caption, ...], join] = ()

    groups: tuple[Group, ...] = ()

    pairs: Annotated[tuple[Pair, ...], join] = ()

    reviews: Annotated[dict[str, Review], merge] = {}

    evidence: Annotated[dict[str, CitedEvidence], merge] = {}

    groundings: Annotated[tuple[Grounding, ...], join] = ()

    distractors: Annotated[tuple[Distractor, ...], join] = ()

    guesses: Annotated[tuple[Guess, ...], join] = ()

    faults: Annotated[dict[str, Fault], merge] = {}

    notes: Annotated[tuple[str, ...], join] = ()
    """What did not go as planned, one sentence each."""

    trace: Annotated[tuple[Step, ...], join] = ()


Update = dict[str, Any]
"""What a task changes in the state."""
