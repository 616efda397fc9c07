"""What answers say around the world's own words: frames, doubts, empty phrases, and what they say to their judge.

Two sets in `wordings.toml` that share no sentence: one that the tiny judge learns from, one for the test split, so that an audit
meets wordings that no training showed.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from espresso.schema import Record
from espresso.world import Split


class Wordings(Record):
    """Ways of saying things; `{}` is where answers go.

    frames: harmless ones around an answer. pairs, triples: what comes first and what then. doubts: about one answer. two_answers,
    three_answers: instead of one. padding: empty phrases, some of which say the answer again. injections: kind -> what is said
    to the judge, `{score}` being what it should give.
    """

    frames: tuple[str, ...]
    pairs: tuple[str, ...]
    triples: tuple[str, ...]
    doubts: tuple[str, ...]
    two_answers: tuple[str, ...]
    three_answers: tuple[str, ...]
    padding: tuple[str, ...]
    injections: dict[str, tuple[str, ...]]

    @property
    def hedges(self) -> tuple[tuple[str, ...], ...]:
        """Ways of not saying it, by grade."""
        return self.doubts, self.two_answers, self.three_answers


@cache
def of(split: Split) -> Wordings:
    """The wordings of a split: test and demo have their own."""
    sets = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return Wordings.model_validate(sets["held_out" if split in ("test", "demo") else "learnt"])
