"""What a model writes a statement about, and the pair of which it is false."""

from collections import Counter

import pytest

from espresso.datasets.raiv import RaivPair, VisualReference, build, files
from espresso.datasets.raiv.contrast import briefs, describe, edit_briefs, fault
from espresso.datasets.raiv.edited import Edit


@pytest.fixture(scope="module")
def built(world_situations):
    return list(build("im-vid", world_situations, 200, 0, common=1.0).pairs)


@pytest.fixture(scope="module")
def asked(built):
    return list(briefs(built, files.load_annotated(built, None), 0, common=1.0))


def test_the_fact_is_annotated_for_one_visual_of_the_true_pair_and_none_of_the_false_one(built, asked):
    annotated = files.load_annotated(built, None)
    assert len(asked) > 80
    assert {bool(each.verb) for each in asked} == {True, False}
    for brief in asked:

        def shows(visual, brief=brief):
            situation = annotated[visual]
            return situation.verb == brief.verb if brief.verb else brief.noun in {*situation.objects, *situation.unsure}

        assert [shows(visual) for visual in brief.pair.visuals].count(True) == 1
        assert not any(map(shows, brief.false))
        shown = brief.pair.visuals[("the image", "the video").index(brief.where)]
        assert shows(shown)
        assert brief.words in (brief.first, brief.second)[("the image", "the video").index(brief.where)]


def test_one_visual_is_replaced_by_another_of_its_kind_and_split_that_shares_an_object_with_the_other(built, asked):
    annotated = files.load_annotated(built, None)
    for brief in asked:
        same = [one == other for one, other in zip(brief.pair.visuals, brief.false, strict=True)]
        assert sorted(same) == [False, True]
        first, second = brief.false
        assert (first.kind, second.kind) == ("image", "video")
        assert first.path != second.path
        assert {*annotated[first].objects} & {*annotated[second].objects}
        assert {visual.path.split("/")[0] for visual in brief.false} == {f"world:{brief.pair.split}"}


def test_the_same_seed_asks_the_same(built, asked):
    annotated = files.load_annotated(built, None)
    assert list(briefs(built, annotated, 0, common=1.0)) == asked
    assert list(briefs(built, annotated, 1, common=1.0)) != asked


def test_a_statement_gives_a_true_and_a_false_pair_with_what_was_changed(asked):
    true, false = asked[0].pairs("The image shows it.", "vicuna")
    assert (true.label, true.visuals, true.changed) == (True, asked[0].pair.visuals, "")
    assert (false.label, false.visuals) == (False, asked[0].false)
    assert false.changed.startswith(f"{asked[0].where}: {asked[0].words!r}; annotated: ")
    assert true.statement == false.statement
    assert true.writer == "vicuna"
    assert true.id != false.id
    assert true.reasons is None


def test_nouns_that_contain_each_other_are_no_contrast(situation):
    names = ["a.jpg", "b.jpg", "c.jpg"]
    scenes = [situation(names[0], "parking", ["dog"]), situation(names[1], "parking", ["dog", "truck"]),
              situation(names[2], "parking", ["dog", "fire truck"])]  # fmt: skip
    visuals = [each.visual for each in scenes]
    pairs = [RaivPair(id=str(number), split="train", kind="im-im", visuals=both, statement="x", label=True, template="t")
             for number, both in enumerate(((visuals[0], visuals[1]), (visuals[0], visuals[2])))]  # fmt: skip
    assert list(briefs(pairs, dict(zip(visuals, scenes, strict=True)), 0, common=1.0)) == []


def test_a_fact_about_which_annotators_disagree_is_not_absent(situation):
    scenes = [situation("a.jpg", "parking", ["dog"]), situation("b.jpg", "parking", ["dog", "cat"]),
              situation("c.jpg", "parking", ["dog"], unsure=["cat"])]  # fmt: skip
    visuals = [each.visual for each in scenes]
    pair = RaivPair(
        id="1", split="train", kind="im-im", visuals=(visuals[0], visuals[1]), statement="x", label=True, template="t"
    )
    other = pair.model_copy(update={"id": "2", "visuals": (visuals[0], visuals[2])})
    assert list(briefs([pair, other], dict(zip(visuals, scenes, strict=True)), 0, common=1.0)) == []


def test_common_objects_are_no_facts(built):
    annotated = files.load_annotated(built, None)
    counts = Counter(noun for situation in annotated.values() for noun in situation.objects)
    rare = list(briefs(built, annotated, 0, common=0.1))
    assert rare
    assert all(counts[brief.noun] <= 0.1 * len(annotated) for brief in rare)


def test_an_annotation_is_described_in_words(situation):
    described = describe(situation("a.jpg", "clinging", ["rock"], {"agent": "man", "place": "beach"}))
    assert described == "action: clinging; agent: man; place: beach; also visible: rock"


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("The first image shows a Dog, and the second one a cat.", None),
        ("The first image shows dogs.", "does not contain the words 'dog'"),
        ("", "not one sentence"),
        ("A dog.\nA cat.", "not one sentence"),
        ("A dog " + "runs " * 80, "not one sentence"),
        ("There is a dog, but no cat.", "contains 'no'"),
        ("A dog is here and the cat isn’t.", 'contains "isn\'t"'),
        ("The dog or the cat sleeps.", "contains 'or'"),
    ],
)
def test_a_statement_must_affirm_its_fact(statement, why):
    found = fault(statement, "dog")
    assert found is None if why is None else why in found


def test_words_of_the_fact_itself_are_no_negation():
    assert fault("The first image shows a no parking sign.", "no parking sign") is None


def edit(name, caption, instruction, after, split="test"):
    before, edited = (VisualReference(path=f"{name}_{number}.jpg", kind="image") for number in (0, 1))
    return Edit(name, split, before, edited, caption, instruction, after)


def test_edits_are_false_of_images_whose_captions_lack_the_added_word():
    edits = [
        edit("a", "a photo of a cat", "make it a lion", "a photo of a lion"),
        edit("b", "a photo of a cat on a chair", "add a hat", "a photo of a cat on a chair with a hat"),
        edit("c", "a lion in the snow", "make it night", "a lion in the snow at night"),
        edit("d", "a red house", "remove the colour", "a house"),
    ]
    pairs = [
        RaivPair(
            id=each.id, split="test", kind="im-im", statement="x", label=True, template="edit",
            visuals=(each.before, each.after),
        )
        for each in edits
    ]  # fmt: skip
    asked = {each.pair.id: each for each in edit_briefs(pairs, {(each.before, each.after): each for each in edits}, 0)}
    assert {name: each.words for name, each in asked.items()} == {"a": "lion", "b": "hat", "c": "night"}
    assert asked["a"].false[0].path == "b_0.jpg"  # the most similar caption without a lion
    assert asked["a"].changed == "the second image: 'lion'; edit: add a hat"
    assert all(each.template == "edit" for brief in asked.values() for each in brief.pairs("x", "vicuna"))
