"""A task: what a run does with every question of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from espresso.options import EvalStrategy, Protocol
from eval.scorers import Scorer, score, score_puzzle, score_world
from eval.solvers import Solver, make_solver

if TYPE_CHECKING:
    from agents.session import Session

WORLD = "world"
"""The dataset whose captions and facts are known."""
PUZZLES = "smart101"
"""The dataset whose facts are known if it is generated."""
WITH_SELECTOR = ("selector", "oracle-captions", "ranked")
"""Strategies that need captioner and selector."""


@dataclass(frozen=True)
class EvalTask:
    """How the questions of a run are asked and their answers scored."""

    solver: Solver
    """Answers a question."""

    scorer: Scorer
    """Scores an answer against the question's reference and ground truth."""

    strategy: EvalStrategy
    """Name of the solver, recorded with each answer."""

    protocol: Protocol = "choice"
    """How options are shown, and how a reply is read."""

    seed: int = 0
    """Seed of the order in which options are shown, and of random frames."""


@dataclass(frozen=True)
class TaskSpec:
    """What a task is made of: plain values, so that a worker on another machine can make it."""

    dataset: str

    strategy: EvalStrategy

    protocol: Protocol = "choice"

    frames: int | None = None
    """Frames of `uniform` and `random` (16 if None), or the most that the selector may choose."""

    given_evidence: bool = False
    """Whether to answer from the evidence in the dataset instead of the reasoner's own."""

    seed: int = 0

    def task(self, session: Session) -> EvalTask:
        """Make the task for a session: free answers are matched by the embedder of its profile."""
        scorer = {WORLD: score_world, PUZZLES: score_puzzle}.get(self.dataset, score)
        return EvalTask(
            solver=make_solver(
                self.strategy,
                frames=self.frames,
                given_evidence=self.given_evidence,
                written=self.protocol == "written",
                seed=self.seed,
            ),
            scorer=partial(scorer, protocol=self.protocol, embedder=session.roles.embedder),
            strategy=self.strategy,
            protocol=self.protocol,
            seed=self.seed,
        )


def load_models(session: Session, spec: TaskSpec) -> None:
    """Load every model that a task needs, so that an error appears before the first question.

    The `open` protocol also needs the embedder, which matches free answers to options.

    Raises:
        ModelError: a model cannot be loaded or reached.
        ProfileError: the embedder needs an API key that is not set.
    """
    roles = session.roles
    if spec.protocol == "open" and roles.embedder:
        session.run(roles.embedder.load())
    if spec.strategy == "classifier":
        if roles.classifier:  # without one, each question says so
            session.run(roles.classifier.load())
        return
    models = [roles.reasoner]
    if spec.strategy in WITH_SELECTOR:
        by = session.profile.select_by
        models += [roles.captioner, *([roles.selector] if by != "embedding" else [])]
        if roles.ranker and by != "llm":
            session.run(roles.ranker.load())
    for model in models:
        _ = model.context_length
