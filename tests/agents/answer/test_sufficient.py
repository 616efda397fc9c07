"""The sufficient node: evidence that shows nothing is written again, once."""

from tests.agents.answer.conftest import nodes, note


def test_poor_evidence_asks_for_other_frames_once(ask, roles, says):
    roles.selector = says('{"frames": [2]}', '{"frames": [2, 5]}')
    roles.reasoner = says("Nothing about this is visible.", "the square moves right", "B")
    answer = ask()
    assert nodes(answer) == [
        "sample",
        "caption",
        "select",
        "evidence",
        "sufficient",
        "select",
        "evidence",
        "sufficient",
        "answer",
    ]
    assert [core.frame for core in answer.core_frames] == [answer.frames[1], answer.frames[4]]
    assert "asking the selector for other frames" in note(answer, "sufficient")


def test_evidence_that_stays_poor_is_answered_from_all_the_same(ask, roles, says):
    roles.reasoner = says("", "", "B")
    answer = ask()
    assert nodes(answer).count("select") == 2
    assert answer.trace[-2].note.endswith("answering anyway")
    assert answer.choice == "B"
