"""Sample balanced pairs of visuals with true and false statements (sections 3.1 and 4.1).

For each statement a true and a false pair are drawn, so that no split has a bias in its text. In
val and test a statement is used once; in train it may occur again with other pairs. The two visuals
of a pair are different files that share an object; objects that more than `COMMON` of the
situations have do not count, and no statement is about their existence.

Templates, verbs and objects are dealt from shuffled decks: each is used once before any is used
again. The ways in which a statement is true and false are drawn before its verb or object, so that
each is equally frequent. Half of the visuals that must not show a role still show its action.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from espresso.datasets.raiv.situations import SPLITS, Situation, Split, VisualReference
from espresso.datasets.raiv.statements import (
    FALSE_WAYS,
    RELATIONS,
    TESTS,
    TRUE_WAYS,
    WORDINGS,
    Claim,
    Kind,
    Relation,
    Topic,
    Way,
    phrase,
    reasons,
    state,
    way,
)
from espresso.errors import DataError
from espresso.schema import Record

COMMON = 0.1
"""Share of the situations above which an object is too common ("person", "sky")."""

SHARES: dict[Split, int] = {"train": 7, "val": 1, "test": 2}
"""Instances of each split, in tenths (section 4.1)."""

CONCEPTS, TRIES, SCANNED = 20, 12, 60
"""Objects or actions that are tried for a statement of a template, pairs that are tried for each of
them, and visuals that are searched for one that shares an object."""

GIVE_UP = 10
"""Times in a row without a statement after which a template is used no more."""


class RaivPair(Record):
    """A statement about two visuals: one line of the file."""

    id: str

    split: Split

    kind: Kind

    visuals: tuple[VisualReference, VisualReference]
    """The first and the second visual; in "im-vid", the image and the video."""

    statement: str

    label: bool
    """Whether the statement is true."""

    template: str
    """Topic and relation of the statement: "object-both"; "edit" for edited images, "written" for a
    statement of a model about other visuals."""

    writer: str = ""
    """Name of the model that wrote the statement; "" if a template made it."""

    changed: str = ""
    """Of a false statement of a model: what it says of a visual, and what is annotated instead."""

    verb: str = ""
    """The action that the statement is about; "" for objects and edits."""

    role: str = ""
    """The role that the statement is about, or "" if it is not about one."""

    noun: str = ""
    """The object that the statement is about, or what fills the role; else ""."""

    topic: str = ""
    """The topic as written in the statement and in the reasons.

    In the statement of a model: the words for what only the pair of which it is true shows.
    """

    reasons: tuple[str, str, str] | None = None
    """Three reasons for a false statement, one of them right; None if there are no three."""

    reason: int | None = None
    """Index of the right reason."""

    @property
    def dataset(self) -> str:
        """Name of the paper's dataset that such a pair belongs to (Table 1): "Im-Vid (T)"."""
        name = "IP2P" if self.template == "edit" else "-".join(part.capitalize() for part in self.kind.split("-"))
        return f"{name} ({'G' if self.writer else 'T'})"

    @property
    def family(self) -> str:
        """Topic and test of the statement, such as "object existence".

        "" for statements about edits and those of a model.
        """
        topic, _, relation = self.template.partition("-")
        return f"{topic} {TESTS[relation]}" if relation in TESTS else ""

    @property
    def claim(self) -> Claim:
        """What the statement says.

        Raises:
            ValueError: it is about an edit, or a model wrote it.
        """
        topic, _, relation = self.template.partition("-")
        if topic not in RELATIONS:
            raise ValueError(f"{self.id}: the template {self.template!r} is not about situations")
        return Claim(topic, relation, self.verb, self.role, self.noun)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Built:
    """Pairs, and what was left out."""

    pairs: Iterator[RaivPair]
    """The pairs by split; they are made when they are read."""

    count: int
    """Number of pairs."""

    common: dict[str, float]
    """Objects that are too common -> share of the situations that have them."""

    alone: int
    """Situations without any other object. No pair has them."""

    notes: tuple[str, ...] = ()
    """Why there are fewer pairs than requested."""


class _Draw(NamedTuple):
    claim: Claim
    wording: int
    label: bool
    found: Way
    first: int
    second: int


def build(
    kind: Kind,
    situations: Iterable[Situation],
    count: int,
    seed: int,
    *,
    abstracts: Mapping[str, str] | None = None,
    common: float = COMMON,
) -> Built:
    """Build pairs, 7:1:2 in train, val and test.

    If a split has too few situations for its share, all splits get fewer pairs.

    Args:
        kind: what the visuals are.
        situations: situations of images, of videos, or of both for "im-vid".
        count: number of pairs.
        seed: the same seed, situations and count give the same pairs.
        abstracts: sentences of verbs, see `LoadedSituations.abstracts`.
        common: share of the situations above which an object is too common.

    Raises:
        DataError: no pair can be built.
    """
    everything = list(situations)
    frequency = Counter(noun for situation in everything for noun in situation.objects)
    shares = {noun: times / len(everything) for noun, times in frequency.most_common() if times > common * len(everything)}
    kept = [each for each in everything if any(noun not in shares for noun in each.objects)]
    samplers, draws = dict[Split, _Sampler](), dict[Split, list[_Draw]]()
    for split in SPLITS:
        here = [each for each in kept if each.split == split]
        samplers[split] = _sampler(kind, here, split, seed, abstracts or {}, shares)
        draws[split] = samplers[split].draw(2 * round(count * SHARES[split] / 20))
    sizes = seven_one_two(count, {split: len(drawn) for split, drawn in draws.items()})
    if not sum(sizes.values()):
        raise DataError(
            f"no pair can be built from {len(everything)} situations: train, val and test each need visuals of the kind "
            f"{kind} that share an object. Give all files of the dataset."
        )
    short = [
        f"{split} has {len(draws[split]):,}" for split in SPLITS if len(draws[split]) < 2 * round(count * SHARES[split] / 20)
    ]
    notes = (f"{sum(sizes.values()):,} of {count:,} pairs: {', '.join(short)} pairs with different statements.",) if short else ()
    pairs = (pair for split in SPLITS for pair in samplers[split].pairs(split, draws[split][: sizes[split]]))
    return Built(pairs, sum(sizes.values()), shares, len(everything) - len(kept), notes)


def mine(kind: Kind, situations: Sequence[Situation], count: int, rng: random.Random, *, share: bool = True) -> list[RaivPair]:
    """Mine pairs from a few situations, for task-specific pre-training (section 3.2).

    A true and a false pair of the same statement follow each other.

    Args:
        kind: what the visuals are.
        situations: situations of images, of videos, or of both for "im-vid".
        count: the most pairs to mine; a few situations may not have as many.
        rng: source of randomness.
        share: whether the two visuals of a pair share an object ("conditioned" in Table 6).
    """
    sampler = _Sampler(kind, _sides(kind, situations, ()), {}, rng, once=False, share=share)
    return list(sampler.pairs("train", sampler.draw(count)))


def build_split(kind: Kind, situations: Iterable[Situation], split: Split, count: int, seed: int) -> Iterator[RaivPair]:
    """Yield the pairs of one split that `build` with `common=1` makes.

    Args:
        kind: what the visuals are.
        situations: situations of the split.
        split: the split.
        count: number of pairs in all splits together.
        seed: see `build`.
    """
    sampler = _sampler(kind, [each for each in situations if each.objects], split, seed, {}, {})
    yield from sampler.pairs(split, sampler.draw(2 * round(count * SHARES[split] / 20)))


def _sampler(
    kind: Kind,
    situations: Sequence[Situation],
    split: Split,
    seed: int,
    abstracts: Mapping[str, str],
    common: Container[str],
) -> _Sampler:
    """Return the sampler of a split."""
    rng = random.Random(f"{seed} {kind} {split}")
    return _Sampler(kind, _sides(kind, situations, common), abstracts, rng, once=split != "train")


def _sides(kind: Kind, situations: Sequence[Situation], common: Container[str]) -> tuple[_Side, _Side]:
    """Return the situations that may come first, and second; `common` as in `_Side`."""
    visuals = {each: _Side([one for one in situations if one.visual.kind == each], common) for each in ("image", "video")}
    return visuals["video" if kind == "vid-vid" else "image"], visuals["image" if kind == "im-im" else "video"]


def seven_one_two(count: int, available: Mapping[Split, int]) -> dict[Split, int]:
    """Return even sizes of the splits, 7:1:2, from at most `count` pairs and the available ones."""
    tenth = min([count / 10, *(available[split] / SHARES[split] for split in SPLITS)])
    sizes = {split: 2 * round(tenth * SHARES[split] / 2) for split in SPLITS}
    return {split: min(size, available[split]) for split, size in sizes.items()}


T = TypeVar("T")


class _Deck(Generic[T]):
    """Items in shuffled rounds: each is drawn once before any is drawn again."""

    def __init__(self, items: Iterable[T], rng: random.Random) -> None:
        self.items, self.rng, self.left = list(items), rng, list[T]()

    def draw(self) -> T:
        if not self.left:
            self.left = self.items.copy()
            self.rng.shuffle(self.left)
        return self.left.pop()

    def remove(self, item: T) -> None:
        self.items.remove(item)
        self.left = [each for each in self.left if each != item]


Key = tuple[str, ...]
"""(noun,) of an object, ("", verb) of an action, ("", verb, role) or ("", verb, role, noun)."""


class _Side:
    """The situations that may come first, or second, with an index by what they show.

    Args:
        situations: the situations.
        common: objects that do not count.
    """

    def __init__(self, situations: Sequence[Situation], common: Container[str]) -> None:
        self.situations = situations
        self.objects = [tuple(noun for noun in each.objects if noun not in common) for each in situations]
        self.sets = [frozenset(nouns) for nouns in self.objects]
        self.places = defaultdict[Key, list[int]](list)
        for place, (situation, nouns) in enumerate(zip(situations, self.objects, strict=True)):
            for noun in nouns:
                self.places[(noun,)].append(place)
            self.places["", situation.verb].append(place)
            for role, noun in situation.roles.items():
                self.places["", situation.verb, role].append(place)
                self.places["", situation.verb, role, noun].append(place)


class _Sampler:
    """Draws the pairs of one split.

    Args:
        kind: what the visuals are.
        sides: the situations that may come first, and second; the same object if they are the same.
        abstracts: sentences of verbs.
        rng: source of randomness.
        once: whether each statement is used once.
        share: whether the two visuals of a pair must share an object.
    """

    def __init__(
        self,
        kind: Kind,
        sides: tuple[_Side, _Side],
        abstracts: Mapping[str, str],
        rng: random.Random,
        *,
        once: bool,
        share: bool = True,
    ) -> None:
        self.kind, self.sides, self.abstracts, self.rng, self.once, self.share = kind, sides, abstracts, rng, once, share
        self.ways = {
            (topic, relation, label): _Deck((TRUE_WAYS if label else FALSE_WAYS)[relation], rng)
            for topic, relations in RELATIONS.items()
            for relation in relations
            for label in (True, False)
        }
        self.stated = set[str]()
        self.used = set[tuple[Claim, int, int]]()
        # A topic must be shown on both sides, and by two visuals.
        least = 2 if sides[0] is sides[1] else 1
        keys = [key for key, places in sides[0].places.items() if key in sides[1].places and len(places) >= least]
        self.objects = _Deck([key[0] for key in keys if len(key) == 1], rng)
        self.verbs = _Deck([key[1] for key in keys if len(key) == 2], rng)
        self.roles = _by_verb([key for key in keys if len(key) == 4], rng)
        self.compared = _by_verb([key for key in keys if len(key) == 3], rng)
        self.verbs_with_roles, self.verbs_compared = _Deck(self.roles, rng), _Deck(self.compared, rng)

    def draw(self, count: int) -> list[_Draw]:
        """Return up to `count` draws, a true and a false one of each statement in turn."""
        draws, failed = list[_Draw](), Counter[tuple[Topic, Relation]]()
        templates = _Deck([(topic, relation) for topic, relations in RELATIONS.items() for relation in relations], self.rng)
        while len(draws) < count and templates.items:
            template = templates.draw()
            twins = self._twins(*template)
            failed[template] = 0 if twins else failed[template] + 1
            if failed[template] == GIVE_UP:
                templates.remove(template)
            draws += twins
        return draws

    def pairs(self, split: Split, draws: Sequence[_Draw]) -> Iterator[RaivPair]:
        """Yield the records of draws."""
        for number, drawn in enumerate(draws):
            claim = drawn.claim
            given = None if drawn.label else reasons(claim, self.kind, drawn.found, self.rng, self.abstracts)
            yield RaivPair(
                id=f"{self.kind}-{split}-{number:06d}",
                split=split,
                kind=self.kind,
                visuals=(self.sides[0].situations[drawn.first].visual, self.sides[1].situations[drawn.second].visual),
                statement=state(claim, self.kind, drawn.wording, self.abstracts),
                label=drawn.label,
                template=claim.template,
                verb=claim.verb,
                role=claim.role,
                noun=claim.noun,
                topic=phrase(claim, self.abstracts),
                reasons=given[0] if given else None,
                reason=given[1] if given else None,
            )

    def _twins(self, topic: Topic, relation: Relation) -> list[_Draw]:
        """Return a true and a false draw of one statement, or nothing if none was found."""
        ways = {label: self.ways[topic, relation, label].draw() for label in (True, False)}
        for _ in range(CONCEPTS):
            claim = self._claim(topic, relation)
            wording = self._wording(claim) if claim else None
            if claim is None or wording is None:
                continue
            found = {label: self._pair(claim, wanted) for label, wanted in ways.items()}
            if all(found.values()):
                draws = [_Draw(claim, wording, label, ways[label], *places) for label, places in found.items() if places]
                self.used |= {(claim, each.first, each.second) for each in draws}
                self.stated.add(state(claim, self.kind, wording, self.abstracts))
                return draws
        return []

    def _claim(self, topic: Topic, relation: Relation) -> Claim | None:
        """Return a claim about the next object or verb of its deck; None if the deck is empty."""
        compares = relation in ("same", "different")
        deck = {"object": self.objects, "action": self.verbs, "role": self.verbs_compared if compares else self.verbs_with_roles}[
            topic
        ]
        if not deck.items:
            return None
        item = deck.draw()
        if topic == "object":
            return Claim(topic, relation, noun=item)
        if topic == "action":
            return Claim(topic, relation, item)
        return Claim(topic, relation, item, *(self.compared if compares else self.roles)[item].draw())

    def _wording(self, claim: Claim) -> int | None:
        """Return a random wording, a new one if statements are used once; None if there is none."""
        start = self.rng.randrange(WORDINGS)
        for wording in (start, (start + 1) % WORDINGS):
            if not self.once or state(claim, self.kind, wording, self.abstracts) not in self.stated:
                return wording
        return None

    def _pair(self, claim: Claim, wanted: Way) -> tuple[int, int] | None:
        """Return the places of two situations that relate in a way, or None if none were found."""
        sides: tuple[int, ...] = {"first": (0,), "second": (1,), "neither": ()}.get(wanted, (0, 1))
        key = _key(claim)
        rarer = min((0, 1), key=lambda side: len(self.sides[side].places.get(key, ())))
        for _ in range(TRIES):
            near = len(key) > 2 and self.rng.random() < 0.5
            start = sides[0] if len(sides) == 1 else rarer if sides else self.rng.randrange(2)
            one, two = self.sides[start], self.sides[1 - start]
            if sides:
                place = self.rng.choice(one.places[key])
            else:
                place = self.rng.choice(one.places[key[:2] if near else (self.objects.draw(),)])
            if len(sides) == 2 or near:
                others = two.places[key if len(sides) == 2 else key[:2]]
                begin = self.rng.randrange(len(others))
                others = (others[begin:] + others[:begin])[:SCANNED]
            elif self.share:
                others = two.places.get((self.rng.choice(one.objects[place]),), [])
                others = [self.rng.choice(others)] if others else []
            else:
                others = [self.rng.randrange(len(two.situations))]
            for other in others:
                places = (other, place) if start else (place, other)
                if self._fits(claim, wanted, *places):
                    return places
        return None

    def _fits(self, claim: Claim, wanted: Way, first: int, second: int) -> bool:
        """Return whether two situations share an object and relate in a way, and are a new pair."""
        one, other = self.sides[0].situations[first], self.sides[1].situations[second]
        return (
            not (self.share and self.sides[0].sets[first].isdisjoint(self.sides[1].sets[second]))
            and one.visual.path != other.visual.path
            and way(claim, one, other) == wanted
            and (claim, first, second) not in self.used
        )


def _key(claim: Claim) -> Key:
    """Return the index key of what a claim is about."""
    if claim.topic == "object":
        return (claim.noun,)
    return ("", *filter(None, (claim.verb, claim.role, claim.noun)))


def _by_verb(keys: Iterable[Key], rng: random.Random) -> dict[str, _Deck[Key]]:
    """Return for each verb a deck of (role,) or (role, noun)."""
    found = defaultdict[str, list[Key]](list)
    for key in keys:
        found[key[1]].append(key[2:])
    return {verb: _Deck(rest, rng) for verb, rest in found.items()}
