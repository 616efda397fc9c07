"""Choose what a model writes a statement about, and the pair of which the statement is false.

The statements of the "G" datasets are written from annotations alone (section 4.1). One statement
is written for the annotations of two visuals (A, B) and used twice: it is true of (A, B), and false
of a pair in which one of the two is replaced: (A, C) or (C, B). Seen from the false pair, the
writer got a changed annotation: that of B instead of that of C. So each statement is true once and
false once, and its text does not say which.

That it is false follows from the annotations. A fact is chosen first, an object or an action that
is annotated for the replaced visual, and neither for C nor for the kept one. The writer is asked to
say it and to affirm everything it says; `fault` accepts only a statement that contains the words of
the fact literally, and no negation or alternative. A sentence that affirms something that neither
visual shows is false of them, whichever visual it speaks of.

Not guaranteed: that annotators mention everything visible; that another noun or verb does not mean
the same ("man", "guy"; only nouns that contain each other count as equal); that the writer affirms
the fact although it uses its words, and that the rest of its statement is true. An event of a video
has one verb, so another action may be visible in it.

For edited images (IP2P) the fact is a word that the edit adds to the caption, and the false pair is
one of another edit whose captions do not have it.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from espresso.datasets.raiv.edited import Edit
from espresso.datasets.raiv.pairs import COMMON, SCANNED, RaivPair
from espresso.datasets.raiv.situations import Situation, VisualReference
from espresso.datasets.raiv.statements import Kind, names

MAX_LENGTH = 300
"""Maximum length of a statement, in characters."""

NEGATIONS = frozenset({
    "no", "not", "never", "neither", "nor", "none", "nothing", "nobody", "nowhere", "cannot", "without", "or", "either",
    "unless", "if", "instead", "absent", "lacks", "missing",
})  # fmt: skip
"""Words that a statement must not contain: with them, it need not affirm the fact."""

_FILLERS = frozenset({
    "the", "and", "with", "for", "from", "into", "onto", "over", "under", "that", "this", "there", "its", "his", "her",
    "their", "has", "have", "are", "was", "were", "image", "photo", "picture", "photograph", "painting",
})  # fmt: skip
"""Words of captions that name no fact."""


@dataclass(frozen=True)
class Brief:
    """What a writer is asked for: a statement, with its true and its false pair."""

    pair: RaivPair
    """The true pair of the built file, whose visuals the statement is about."""

    false: tuple[VisualReference, VisualReference]
    """The visuals of which the statement is false."""

    first: str
    """Annotation of the first visual, or caption of the image before the edit."""

    second: str
    """Annotation of the second visual, or caption of the image after the edit."""

    words: str
    """Words of the fact, which the statement must contain."""

    where: str
    """The visual that shows the fact: "the first image"."""

    changed: str
    """What the statement says of the false pair, and what is annotated instead."""

    verb: str = ""
    """The fact, if it is an action."""

    noun: str = ""
    """The fact, if it is an object."""

    edit: str = ""
    """The instruction of an edit; "" for other pairs."""

    def pairs(self, statement: str, writer: str) -> Iterator[RaivPair]:
        """Yield the true and the false pair of a statement.

        Args:
            statement: the statement.
            writer: name of the model that wrote it.
        """
        for label, visuals in ((True, self.pair.visuals), (False, self.false)):
            yield RaivPair(
                id=f"g-{self.pair.id}-{'true' if label else 'false'}",
                split=self.pair.split,
                kind=self.pair.kind,
                visuals=visuals,
                statement=statement,
                label=label,
                template="edit" if self.edit else "written",
                writer=writer,
                changed="" if label else self.changed,
                verb=self.verb,
                noun=self.noun,
                topic=self.words,
            )


def fault(statement: str, words: str) -> str | None:
    """Return why a statement cannot be used; None if it can.

    Args:
        statement: what a model wrote.
        words: the words of the fact that it must affirm.
    """
    text = statement.casefold().replace("’", "'")
    if not statement.strip() or "\n" in statement.strip() or len(statement) > MAX_LENGTH:
        return f"it is not one sentence of at most {MAX_LENGTH} characters"
    rest, found = re.subn(rf"(?<!\w){re.escape(words.casefold())}(?!\w)", " ", text)
    if not found:
        return f"it does not contain the words {words!r}"
    negation = next((word for word in re.findall(r"[\w']+", rest) if word in NEGATIONS or word.endswith("n't")), None)
    return f"it contains {negation!r}, but must only affirm" if negation else None


def describe(situation: Situation) -> str:
    """Return the annotation of a visual as one line."""
    roles = [f"{role}: {noun}" for role, noun in situation.roles.items()]
    others = [noun for noun in situation.objects if noun not in situation.roles.values()]
    return "; ".join([f"action: {situation.verb}", *roles, *([f"also visible: {', '.join(others)}"] if others else [])])


def briefs(
    pairs: Sequence[RaivPair], situations: Mapping[VisualReference, Situation], seed: int, *, common: float = COMMON
) -> Iterator[Brief]:
    """Yield a brief for each true pair of a file for which there is a false one.

    Args:
        pairs: the pairs of the file. Replacements are taken from those of the same split and kind.
        situations: visual -> annotation, for all visuals of the pairs.
        seed: seed of the choices.
        common: share of the visuals above which an object is too common to be a fact, or to be
            what the visuals of a pair share.
    """
    counts = Counter(noun for situation in situations.values() for noun in situation.objects)
    too_common = {noun for noun, count in counts.items() if count > common * len(situations)}
    groups = defaultdict[tuple[str, Kind], list[RaivPair]](list)
    for pair in pairs:
        groups[pair.split, pair.kind].append(pair)
    for (split, kind), members in groups.items():
        rng = random.Random(f"{seed} write {kind} {split}")
        visuals = dict.fromkeys(visual for pair in members for visual in pair.visuals)
        index = _Index([situations[visual] for visual in visuals], too_common)
        for number, pair in enumerate(each for each in members if each.label):
            if brief := _brief(pair, situations, index, rng, prefer=("verb", "noun")[number % 2]):
                yield brief


class _Index:
    """The situations of a split and kind, by object."""

    def __init__(self, situations: Sequence[Situation], common: Container[str]) -> None:
        self.common = common
        self.by_object = defaultdict[str, list[Situation]](list)
        for situation in situations:
            for noun in situation.objects:
                if noun not in common:
                    self.by_object[noun].append(situation)

    def sharing(self, kept: Situation, rng: random.Random) -> list[Situation]:
        """Return random situations that share an object with one: up to `SCANNED` per object."""
        lists = [self.by_object[noun] for noun in kept.objects if noun in self.by_object]
        drawn = (each for some in lists for each in rng.sample(some, min(SCANNED, len(some))))
        return list({each.id: each for each in drawn}.values())


def _brief(
    pair: RaivPair, situations: Mapping[VisualReference, Situation], index: _Index, rng: random.Random, *, prefer: str
) -> Brief | None:
    """Return a brief about the visuals of a pair, or None if no visual can replace one of them."""
    shown = situations[pair.visuals[0]], situations[pair.visuals[1]]
    for side in rng.sample((0, 1), 2):
        replaced, kept = shown[side], shown[1 - side]
        others = [
            each
            for each in index.sharing(kept, rng)
            if each.visual.kind == replaced.visual.kind and each.visual.path not in (replaced.visual.path, kept.visual.path)
        ]
        nouns = [noun for noun in replaced.objects if noun not in index.common]
        facts = [("noun", noun) for noun in rng.sample(nouns, len(nouns))]
        facts = [("verb", replaced.verb), *facts] if prefer == "verb" else [*facts, ("verb", replaced.verb)]
        for topic, words in facts:
            without = [each for each in others if _lacks(each, topic, words)] if _lacks(kept, topic, words) else []
            if not without:
                continue
            # The replacement is as similar as possible: the same action, or as many equal objects.
            other = max(without, key=lambda each: (each.verb == replaced.verb, len({*each.objects} & {*replaced.objects})))
            where = names(pair.kind)[side]
            return Brief(
                pair=pair,
                false=(kept.visual, other.visual) if side else (other.visual, kept.visual),
                first=describe(shown[0]),
                second=describe(shown[1]),
                words=words,
                where=where,
                changed=f"{where}: {words!r}; annotated: {describe(other)}",
                verb=words if topic == "verb" else "",
                noun=words if topic == "noun" else "",
            )
    return None


def _lacks(situation: Situation, topic: str, words: str) -> bool:
    """Return whether a visual does not show an object or an action, by its annotation."""
    shown = [situation.verb] if topic == "verb" else [*situation.objects, *situation.unsure]
    return not any(_overlap(words, each) for each in shown)


def _overlap(one: str, other: str) -> bool:
    """Return whether all words of one text are in the other: "truck" and "fire truck"."""
    left, right = {*one.lower().split()}, {*other.lower().split()}
    return left <= right or right <= left


def edit_briefs(
    pairs: Sequence[RaivPair], edits: Mapping[tuple[VisualReference, VisualReference], Edit], seed: int
) -> Iterator[Brief]:
    """Yield a brief for each true pair of edited images for which there is a false one.

    Args:
        pairs: the pairs of the file.
        edits: (image before, image after) -> edit, for all pairs.
        seed: seed of the choices.
    """
    said = {images: _words(f"{edit.caption} {edit.edit} {edit.edited_caption}") for images, edit in edits.items()}
    before = {images: _words(edit.caption) for images, edit in edits.items()}
    by_split = defaultdict[str, list[RaivPair]](list)
    for pair in pairs:
        if pair.label:
            by_split[pair.split].append(pair)
    for split, members in by_split.items():
        rng = random.Random(f"{seed} write edits {split}")
        for pair in members:
            edit = edits[pair.visuals]
            others = rng.sample(members, min(SCANNED, len(members)))
            for word in _added(edit):
                without = [other for other in others if word not in said[other.visuals]]
                if without:
                    common = before[pair.visuals]
                    other = max(without, key=lambda each: len(common & before[each.visuals]))
                    changed = f"the second image: {word!r}; edit: {edits[other.visuals].edit}"
                    yield Brief(
                        pair, other.visuals, edit.caption, edit.edited_caption, word, "the second image", changed, edit=edit.edit
                    )
                    break


def _added(edit: Edit) -> list[str]:
    """Return the words that an edit adds to the caption, in their order."""
    before = _words(edit.caption)
    after = re.findall(r"[a-z]{3,}", edit.edited_caption.lower())
    return [word for word in dict.fromkeys(after) if word not in before and word not in _FILLERS | NEGATIONS]


def _words(text: str) -> set[str]:
    return {*re.findall(r"[a-z]{3,}", text.lower())} - _FILLERS
