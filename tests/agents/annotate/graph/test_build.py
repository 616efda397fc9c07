"""LangGraph's own tools can run the construction graph from JSON."""

import pytest

from agents.annotate.graph.build import graph
from espresso import world
from espresso.errors import ProfileError


async def test_the_graph_runs_from_json_with_the_name_of_a_profile(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPRESSO_CACHE", str(tmp_path / "cache"))
    (question,) = world.make("val", 1, tmp_path / "world", workers=1)
    final = await graph.ainvoke({"source": question.visuals[0]}, context={"profile": "tiny", "questions": 1})
    assert {"sample", "caption", "group", "write"} <= {step.node for step in final["trace"]}
    assert len(final["pairs"]) <= len(final["groups"])
    properties = graph.get_context_jsonschema()["properties"]
    assert properties.keys() == {"profile", "sampling", "questions", "distractors", "allow_out_of_domain"}


async def test_without_a_context_it_says_so(tmp_path):
    with pytest.raises(ProfileError, match="has no context"):
        await graph.ainvoke({"source": str(tmp_path / "clip.mp4")})
