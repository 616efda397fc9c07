"""Whole builds of the world: truth by independent code, balance, leakage, reasons."""

import re
from collections import Counter, defaultdict
from functools import cache

import pytest

from espresso.datasets.raiv import build
from espresso.datasets.raiv.statements import KINDS
from espresso.errors import DataError
from espresso.world import story
from espresso.world.make import truth_of


@pytest.fixture(scope="session", params=KINDS)
def built(request, world_situations):
    return list(build(request.param, world_situations, 3000, 0, common=1.0).pairs)


# Truth, from the text of the statement and the ground truth of the clip

FORMS = {
    r"both show (.+), and the \w+ is the same": "same",
    r"(.+) can be seen in both, with the same \w+": "same",
    r"both show (.+), but the \w+ is not the same": "different",
    r"(.+) can be seen in both, but with a different \w+": "different",
    r"both show (.+)|(.+) can be seen in both": "both",
    r"any shows (.+)|(.+) can be seen in any": "any",
    r"neither shows (.+)|(.+) can be seen in neither": "neither",
    r"1 shows (.+), but 2 does not|(.+) can be seen in 1 but not in 2": "first",
    r"2 shows (.+), but 1 does not|(.+) can be seen in 2 but not in 1": "second",
    r"one shows (.+)|(.+) can be seen in one": "one",
}
NAMES = {
    "both images": "both", "both videos": "both", "both the image and the video": "both",
    "at least one of the images": "any", "at least one of the videos": "any", "at least one of the two visuals": "any",
    "neither the image nor the video": "neither",
    "neither image": "neither", "neither video": "neither",
    "exactly one of the images": "one", "exactly one of the videos": "one", "exactly one of the two visuals": "one",
    "the first image": "1", "the second image": "2", "the first video": "1", "the second video": "2",
    "the image": "1", "the video": "2",
}  # fmt: skip
THING = r"(?:red|blue|green|yellow|purple|black) (?:circle|square|triangle|star|diamond|cross|car|bus|truck)"
VERBS = {
    "hits": "hitting", "pushes": "pushing", "follows": "following", "gives": "giving a box", "hides": "hiding",
    "goes": "going into the pan", "stirs": "stirring the pan", "pours": "pouring water", "salts": "salting the pan",
    "heats": "heating the pan", "covers": "covering the pan", "breaks": "breaking down",
}  # fmt: skip


@cache
def clip(path):
    split, index = path.removeprefix("world:").split("/")
    return truth_of(story(split, int(index)), 100)


@cache
def act_of(path, span):
    """Return the action, the doer, the target and the visible things of a visual."""
    middle = sum(span) / 2
    truth = clip(path)
    act = next(each for each in truth["acts"] if each["start"] <= middle <= each["end"])
    frame = min(truth["frames"], key=lambda each: abs(each["time"] - middle))
    value = act["value"]
    action = VERBS.get(act["verb"]) or {
        "feels": f"feeling {value}", "leaves": f"leaving to the {value}", "enters": f"entering from the {value}",
        "turns": f"turning {value}", "lamp": f"turning the lamp {value}", "crosses": f"crossing on {value}",
        "waits": f"waiting for the {'red light' if value == 'light' else value}",
    }[act["verb"]]  # fmt: skip
    doer = f"{value} {act['doer'].split()[1]}" if act["verb"] == "turns" else act["doer"]
    return action, doer, act["target"], set(frame["boxes"])


def shows(topic, visual):
    """Return whether a visual shows a topic, and what a comparison would compare."""
    action, doer, target, things = act_of(visual.path, visual.span)
    if found := re.fullmatch(f"an? ({THING})", topic):
        return found[1] in things, action
    if found := re.fullmatch(f"an? ({THING}) (.+)", topic):
        return (doer, action) == (found[1], found[2]), None
    if found := re.fullmatch(f"(.+) with an? ({THING}) as the target", topic):
        return (target, action) == (found[2], found[1]), None
    return action == topic, {"agent": doer, "target": target}


def true(text, visuals):
    text = text.rstrip(".").lower()
    for name, short in NAMES.items():
        text = re.sub(rf"\b{name}\b", short, text)
    form, relation = next((form, relation) for form, relation in FORMS.items() if re.fullmatch(form, text))
    topic = next(filter(None, re.fullmatch(form, text).groups()))
    (left, one), (right, other) = (shows(topic, visual) for visual in visuals)
    if relation in ("same", "different"):
        role = re.search(r"\b(agent|target)\b", text)
        one, other = (one[role[1]], other[role[1]]) if role else (one, other)
        return left and right and ((one == other) == (relation == "same"))
    return {
        "both": left and right, "any": left or right, "neither": not left and not right, "first": left and not right,
        "second": right and not left, "one": left != right,
    }[relation]  # fmt: skip


def test_every_label_is_true_in_the_world(built):
    wrong = [(pair.statement, pair.visuals, pair.label) for pair in built if true(pair.statement, pair.visuals) != pair.label]
    assert not wrong


def test_exactly_the_right_reason_is_true_in_the_world(built):
    explained = [pair for pair in built if pair.reasons]
    assert len(explained) > 900
    for pair in explained:
        assert [true(reason, pair.visuals) for reason in pair.reasons] == [place == pair.reason for place in range(3)], pair


# Balance


def test_each_statement_is_true_as_often_as_false_and_used_once_in_val_and_test(built):
    labels = defaultdict(Counter)
    for pair in built:
        labels[pair.split, pair.statement][pair.label] += 1
    assert all(counts[True] == counts[False] for counts in labels.values())
    assert all(counts[True] == 1 for (split, _), counts in labels.items() if split != "train")


def test_splits_are_seven_one_two_and_share_no_file(built):
    assert Counter(pair.split for pair in built) == {"train": 2100, "val": 300, "test": 600}
    files = defaultdict(set)
    for pair in built:
        for visual in pair.visuals:
            files[visual.path].add(pair.split)
            assert visual.path.startswith(f"world:{pair.split}/")
    assert all(len(splits) == 1 for splits in files.values())


def test_pairs_have_the_kinds_and_two_files_and_share_a_thing(built):
    for pair in built:
        assert tuple(visual.kind[:2] for visual in pair.visuals) == tuple(pair.kind.replace("vid", "vi").split("-"))
        one, other = (act_of(visual.path, visual.span)[3] for visual in pair.visuals)
        assert one & other
        assert pair.visuals[0].path != pair.visuals[1].path


def test_reasons_are_balanced_in_place_and_meaning(built):
    explained = [pair for pair in built if pair.reasons]
    places = Counter(pair.reason for pair in explained)
    assert max(places.values()) < 0.4 * len(explained)
    meanings = defaultdict(Counter)
    for pair in explained:
        meanings[pair.template][pair.reasons[pair.reason].lower().replace(pair.topic, "...")] += 1
    assert sum(max(counts.values()) for counts in meanings.values()) < 0.4 * len(explained)


def test_templates_and_actions_are_used_evenly(built):
    train = [pair for pair in built if pair.split == "train"]
    templates = Counter(pair.template for pair in train)
    assert len(templates) == 22
    assert max(templates.values()) <= 1.5 * min(templates.values())
    verbs = Counter(pair.verb for pair in train if pair.template.startswith("action"))
    assert max(verbs.values()) < 0.12 * verbs.total()


def test_the_seed_decides_the_pairs(built, world_situations):
    kind = built[0].kind
    assert list(build(kind, world_situations, 3000, 0, common=1.0).pairs) == built
    assert list(build(kind, world_situations, 3000, 1, common=1.0).pairs) != built


def test_a_claim_can_be_read_from_a_pair(built):
    assert all(pair.claim.template == pair.template for pair in built)


# Small sets of situations


def crowd(situation, split, common=()):
    return [
        situation(f"{split}{number}", ("jumping", "reading")[number % 2], [f"thing{number % 3}", *common], split=split)
        for number in range(12)
    ]


def test_objects_that_most_situations_have_are_not_used(situation):
    situations = [each for split in ("train", "val", "test") for each in crowd(situation, split, ["person"])]
    made = build("im-im", situations, 20, 0, common=0.5)
    assert made.common == {"person": 1.0}
    assert all(pair.noun != "person" for pair in made.pairs)


def test_visuals_that_share_only_a_common_object_are_no_pair(situation):
    situations = [
        situation(f"{split}{n}", "jumping", ["person"], split=split) for split in ("train", "val", "test") for n in range(9)
    ]
    with pytest.raises(DataError, match="no pair can be built"):
        build("im-im", situations, 20, 0)


def test_a_split_with_too_few_statements_limits_all(situation):
    situations = [each for split in ("train", "val", "test") for each in crowd(situation, split)]
    made = build("im-im", situations, 20_000, 0, common=1.0)
    sizes = Counter(pair.split for pair in made.pairs)
    assert sizes.total() == made.count < 20_000
    assert made.notes
    assert abs(sizes["train"] - 7 * sizes["val"]) <= 14
