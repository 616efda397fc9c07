import json
import re

import pytest

from espresso.datasets.raiv import build, files
from espresso.datasets.raiv.contrast import briefs, fault
from espresso.datasets.raiv.statements import KINDS
from finetune.tiny import statements
from finetune.tiny.statements import ask, compose


@pytest.fixture(scope="module")
def asked():
    """Briefs about pairs of each kind, with the situations of their visuals."""
    found = []
    for kind in KINDS:
        situations = files.load_world(kind, 60).situations
        known = {each.visual: each for each in situations}
        for brief in briefs(list(build(kind, situations, 60, 0, common=1.0).pairs), known, 0, common=1.0):
            found.append((brief, *(known[visual] for visual in brief.pair.visuals)))
    return found


def test_a_composed_statement_affirms_the_fact_of_its_visual(asked):
    assert len(asked) > 60
    for brief, *situations in asked:
        text = compose(brief, *situations)
        assert fault(text, brief.words) is None
        assert brief.where in text.lower()
        assert text[0].isupper()
        assert text.endswith(".")


def test_a_statement_says_of_each_visual_only_what_is_annotated_there(asked):
    things = re.compile(r"(?:red|blue|green|yellow|purple|black) (?:circle|square|triangle|star|diamond|cross|car|bus|truck)")
    for brief, first, second in asked:
        named = set(things.findall(compose(brief, first, second)))
        assert named <= {*first.objects, *second.objects, *first.roles.values(), *second.roles.values()}


def test_all_forms_occur_and_none_is_a_template(asked):
    texts = [compose(*each) for each in asked]
    starts = {re.sub(r"(image|video)s?|first|second|an? \w+ \w+", "_", text).split(",")[0][:14] for text in texts}
    assert len(starts) > 5
    assert not {text for text in texts} & {brief.pair.statement for brief, *_ in asked}


def test_rows_are_prompts_with_their_replies(monkeypatch):
    monkeypatch.setattr(statements, "PAIRS", 30)
    statements.rows.cache_clear()
    try:
        rows = statements.rows()
        for prompt, reply in rows:
            *_, words, last = "".join(map(str, prompt[-1].content)).split("\n")
            assert last == "statement"
            assert words.rpartition(" in ")[0] in json.loads(str(reply.content[0]))["statement"]
        assert any("video" in str(prompt[-1].content[0]) for prompt, _ in rows)
    finally:
        statements.rows.cache_clear()


def test_the_prompt_shows_both_annotations_and_the_fact(asked):
    brief = asked[0][0]
    text = "".join(map(str, ask(brief)[-1].content))
    assert brief.first in text
    assert brief.second in text
    assert f"{brief.words} in {brief.where}" in text
