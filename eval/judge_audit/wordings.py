"""Phrases to build perturbed answers from: templates, hedges, padding and injections.

`wordings.toml` holds two sets without a common sentence. The tiny judge is trained on `train`;
audits use `test`, so an audit measures the judge on wordings it has never seen.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from espresso.schema import Record
from espresso.world import Split


class Wordings(Record):
    """The phrases of one set. `{}` marks the place of an answer."""

    templates: tuple[str, ...]
    """Neutral sentences around one answer, such as "The answer is {}."."""

    pairs: tuple[str, ...]
    """Conjunctions of two successive events."""

    triples: tuple[str, ...]
    """Conjunctions of three successive events."""

    doubts: tuple[str, ...]
    """Hedges around one answer."""

    two_answers: tuple[str, ...]
    """Hedges between two answers."""

    three_answers: tuple[str, ...]
    """Hedges between three answers."""

    padding: tuple[str, ...]
    """Empty phrases; some repeat the answer."""

    injections: dict[str, tuple[str, ...]]
    """Kind of injection -> sentences that address the judge. `{score}` is the score they demand."""

    @property
    def hedges(self) -> tuple[tuple[str, ...], ...]:
        """The hedges by grade: one, two and three answers."""
        return self.doubts, self.two_answers, self.three_answers


@cache
def load_wordings(split: Split) -> Wordings:
    """Return the wordings of a split of the world; "test" and "demo" share the test set's."""
    sets = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return Wordings.model_validate(sets["test" if split in ("test", "demo") else "train"])
