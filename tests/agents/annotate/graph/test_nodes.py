from agents.annotate.graph.nodes import correct_times
from agents.annotate.graph.state import CitedScene, Scene
from espresso.schema import Frame


def cited(text, start, end):
    return CitedScene(
        text=text, scene=Scene(text=text, frames=(Frame(index=0, time=start),), start=start, end=end), similarity=1.0
    )


def test_times_in_the_evidence_are_those_of_the_matched_scenes():
    matched = [cited("star hides", 2.0, 3.0), cited("box falls", 3.0, 5.0), cited("star hides", 7.0, 7.5)]
    evidence = "9.0s: star hides. 1s: box falls. Then, at 30 s, 4.5 s: star hides."
    assert correct_times(evidence, matched) == "2.5s: star hides. 4.0s: box falls. Then, at 30 s, 7.2 s: star hides."


def test_evidence_without_times_of_captions_is_unchanged():
    assert correct_times("The star hides at 3 s. 4s: it falls.", [cited("star hides", 2.0, 3.0)]) == (
        "The star hides at 3 s. 4s: it falls."
    )


def test_scenes_may_be_cited_in_any_order():
    matched = [cited("star", 0.0, 1.0), cited("star hides", 2.0, 3.0)]
    assert correct_times("8s: star hides. 9s: star.", matched) == "2.5s: star hides. 0.5s: star."
