"""Check a whole file of pairs: Table 1, balance, leakage and reasons."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from espresso.datasets.raiv.contrast import fault
from espresso.datasets.raiv.pairs import SHARES, RaivPair
from espresso.datasets.raiv.situations import SPLITS, Split, VisualReference
from espresso.datasets.rows import reason
from espresso.errors import DataError
from espresso.schema import Record

TOLERANCE = 0.01
"""Largest deviation of a split's share of the instances."""


class PairCheck(Record):
    """What a file of pairs contains, and which guarantees it breaks."""

    visuals: int
    """Different visuals (U-Im in Table 1)."""

    statements: int
    """Different statements (U-S in Table 1)."""

    instances: dict[Split, int]
    """Split -> pairs."""

    true_share: dict[Split, float]
    """Split -> share of true statements."""

    text_accuracy: dict[Split, float]
    """Split -> accuracy of the best guess from the statement alone."""

    written: int
    """Pairs whose statement a model wrote."""

    reasons: int
    """Pairs with reasons."""

    reason_text_accuracy: float
    """Accuracy of the best guess of the reason from template and wording of the reasons alone.

    Chance is 1/3. The guess is fitted to the same pairs, so it is higher in small files.
    """

    verb_evenness: float
    """Entropy of the verbs in statements, divided by the largest possible one; 0 without verbs."""

    object_evenness: float
    """The same for the nouns in statements."""

    verbs: int
    """Different verbs in statements."""

    objects: int
    """Different nouns in statements."""

    problems: tuple[str, ...]
    """Broken guarantees, one sentence each."""


def read_pairs(path: Path) -> Iterator[RaivPair]:
    """Yield the pairs of a file, one line at a time.

    Raises:
        DataError: the file, or a line of it, cannot be read.
    """
    number = 0
    try:
        with path.open("rb") as file:
            for line in file:
                number += 1
                if line.strip():
                    yield RaivPair.model_validate_json(line)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Give a file that `espresso raiv build` wrote.") from None
    except ValidationError as error:
        raise DataError(f"{path}, line {number}: not a pair ({reason(error)}). Build the file again.") from None


def check(path: Path) -> PairCheck:
    """Read a file of pairs once and check it.

    Raises:
        DataError: the file cannot be read, or contains no pair.
    """
    labels: dict[Split, dict[str, list[int]]] = {split: defaultdict(lambda: [0, 0]) for split in SPLITS}
    splits_of = defaultdict[str, set[Split]](set)
    visuals, ids, problems, written = set[VisualReference](), set[str](), dict[str, None](), 0
    verbs, nouns, right = Counter[str](), Counter[str](), defaultdict[str, Counter[str]](Counter)
    for pair in read_pairs(path):
        if pair.id in ids:
            problems[f"The id {pair.id} is there twice."] = None
        ids.add(pair.id)
        labels[pair.split][pair.statement][pair.label] += 1
        written += bool(pair.writer)
        for visual in pair.visuals:
            visuals.add(visual)
            splits_of[visual.path].add(pair.split)
        verbs.update(filter(None, (pair.verb,)))
        nouns.update(filter(None, (pair.noun,)))
        if faults := list(_faults(pair)):
            problems |= dict.fromkeys(faults)
        elif pair.reasons is not None and pair.reason is not None:
            right[pair.template][_pattern(pair.reasons[pair.reason], pair.topic)] += 1
    if not ids:
        raise DataError(f"{path}: contains no pair. Build the file again.")
    return PairCheck(
        visuals=len(visuals),
        statements=len(set().union(*labels.values())),
        instances={split: _total(labels[split].values()) for split in SPLITS},
        true_share={split: _share(sum(true for _, true in labels[split].values()), labels[split]) for split in SPLITS},
        text_accuracy={split: _share(sum(map(max, labels[split].values())), labels[split]) for split in SPLITS},
        written=written,
        reasons=sum(counts.total() for counts in right.values()),
        reason_text_accuracy=sum(max(counts.values()) for counts in right.values())
        / max(1, sum(counts.total() for counts in right.values())),
        verb_evenness=_evenness(verbs),
        object_evenness=_evenness(nouns),
        verbs=len(verbs),
        objects=len(nouns),
        problems=(*problems, *_broken(labels, splits_of)),
    )


def _faults(pair: RaivPair) -> Iterator[str]:
    """Yield what is wrong with one pair."""
    if pair.visuals[0].path == pair.visuals[1].path:
        yield f"{pair.id}: both visuals are of the file {pair.visuals[0].path}."
    if (pair.reasons is None) != (pair.reason is None):
        yield f"{pair.id}: it has reasons without the right one, or the other way round."
    elif pair.reasons is not None and (pair.label or len(set(pair.reasons)) < 3 or pair.reason not in (0, 1, 2)):
        yield f"{pair.id}: its reasons are not three different ones for a false statement."
    if pair.writer and (why := fault(pair.statement, pair.topic)):
        yield f"{pair.id}: the statement cannot be used; {why}."
    if bool(pair.changed) != bool(pair.writer and not pair.label):
        yield f"{pair.id}: what was changed is recorded for false statements of a model, and only for them."


def _broken(labels: dict[Split, dict[str, list[int]]], splits_of: dict[str, set[Split]]) -> Iterator[str]:
    """Yield the guarantees of a whole file that are broken."""
    leaked = [path for path, splits in splits_of.items() if len(splits) > 1]
    if leaked:
        yield f"{len(leaked):,} visuals are in two splits; the first is {leaked[0]}."
    for split in SPLITS:
        odd = [statement for statement, counts in labels[split].items() if counts[0] != counts[1]]
        if odd:
            yield f"{split}: {len(odd):,} statements are not true as often as false; the first is {odd[0]!r}."
        again = [statement for statement, counts in labels[split].items() if split != "train" and max(counts) > 1]
        if again:
            yield f"{split}: {len(again):,} statements are used for more than two pairs; the first is {again[0]!r}."
    total = sum(_total(of.values()) for of in labels.values())
    for split in SPLITS:
        size = _total(labels[split].values())
        if abs(size - total * SHARES[split] / 10) > max(2, TOLERANCE * total):
            yield f"{split}: {size:,} of {total:,} pairs, not {SHARES[split]} tenths."


def _pattern(text: str, topic: str) -> str:
    """Return a reason without its topic, to compare reasons of different statements."""
    return text.lower().replace(topic.lower(), "...") if topic else text


def _total(counts: Iterable[list[int]]) -> int:
    return sum(map(sum, counts))


def _share(count: int, labels: dict[str, list[int]]) -> float:
    return count / max(1, _total(labels.values()))


def _evenness(counts: Counter[str]) -> float:
    """Return the entropy of counts as a share of that of equal counts."""
    total = counts.total()
    entropy = -sum(count / total * math.log(count / total) for count in counts.values())
    return entropy / math.log(len(counts)) if len(counts) > 1 else float(bool(counts))
