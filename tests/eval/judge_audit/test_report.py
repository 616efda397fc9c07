"""The report of an audit: the same findings in tables, in JSON and on a page."""

import re

import pytest

from espresso.errors import DataError
from eval.judge_audit.audit import Audit
from eval.judge_audit.human_preferences import HumanAgreement, JudgeAgreement
from eval.judge_audit.metrics import Correlation, Mean, Share
from eval.judge_audit.pairwise import OrderBias, SelfPreference
from eval.judge_audit.report import render_page, tables, write_report


def share(what, grade=None, value=0.9):
    return Share(what=what, grade=grade, n=40, share=value, low=0.8, high=0.95)


def mean(what, value=-0.5):
    return Mean(what=what, n=40, mean=value, low=-1, high=0.5, most=-3)


def correlation(what):
    return Correlation(what=what, n=100, rho=0.912, low=0.9, high=0.925)


AUDIT = Audit(
    judge="judge@<1>",
    prompt="abc",
    samples=3,
    temperature=0.7,
    questions=4,
    answers=100,
    unscored=1,
    ordered=(share("all"), share("rambling"), share("rambling", 1, 0.25), share("rambling", 3, 0.75)),
    monotone=(share("all", value=0.875),),
    correlation=(correlation("overall"),),
    resistance=(mean("all, magnitude", 0.5), mean("demand")),
    paraphrase=mean("paraphrase"),
    length=correlation("words"),
    rambling=mean("accuracy of rambling answers"),
    repeated={"overall": 0.967},
    judged=(2, 0, 0, 0, 0, 0, 0, 0, 0, 98),
    deserved=(0, 0, 0, 0, 0, 0, 0, 0, 0, 100),
    not_measured={"order bias": "it cannot compare"},
)


def table(audit, title):
    return next(each for each in tables(audit) if each.title == title)


def test_every_row_has_as_many_cells_as_the_head():
    for each in tables(AUDIT):
        assert each.rows
        assert all(len(row) == len(each.head) for row in each.rows), each.title


def test_the_grades_of_a_kind_are_in_its_row():
    _, rambling = table(AUDIT, "Ranking accuracy").rows
    assert rambling == ("rambling", "40", "90.0%", "80.0% to 95.0%", "25.0%", "", "75.0%")


def test_findings_appear_only_if_they_were_measured():
    titles = [each.title for each in tables(AUDIT)]
    assert "Agreement with people" not in titles
    assert len(table(AUDIT, "Biases").rows) == 3
    agreement = JudgeAgreement(judge="gpt", n=9, agree=0.75, low=0.5, high=0.9, kappa=None)
    labels = HumanAgreement(source="testset.json", pairs=10, people=3, alpha=0.856, majorities=9, judges=(agreement,))
    more = AUDIT.model_copy(
        update={
            "order": OrderBias(flips=share("orders disagree"), first=share("first position wins")),
            "preference": SelfPreference(run="run", model="m", own=True, difference=mean("difference")),
            "labels": (labels,),
            "not_measured": {},
        }
    )
    assert "Not measured" not in [each.title for each in tables(more)]
    assert [row[0] for row in table(more, "Biases").rows[3:]] == [
        "orders disagree", "first position wins", "answers of m (the judge's own model)",
    ]  # fmt: skip
    assert table(more, "Agreement with people").rows == [
        ("testset.json", "3 people, alpha", "10", "0.856", "", ""),
        ("testset.json", "gpt", "9", "75.0%", "50.0% to 90.0%", ""),
    ]


def test_the_page_has_every_cell_escaped_and_loads_nothing():
    page = render_page(AUDIT)
    assert "judge@&lt;1&gt;" in page
    assert "<1>" not in page
    assert "0.967" in page
    assert page.count("<rect") == 20
    assert not re.search(r'(src|href)="', page)


def test_page_and_json_are_written_from_the_same_audit(tmp_path):
    write_report(AUDIT, tmp_path / "out")
    assert Audit.model_validate_json((tmp_path / "out" / "audit.json").read_text()) == AUDIT
    assert (tmp_path / "out" / "audit.html").read_text() == render_page(AUDIT)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write the audit"):
        write_report(AUDIT, tmp_path / "file")
