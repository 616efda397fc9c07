"""Decisions about constructed data, and which runs are offered."""

import pytest

from agents.annotate.dataset.page import read_decisions
from espresso.datasets import records
from espresso.errors import DataError
from serving.app.reports import Reports
from serving.errors import UnknownFileError


@pytest.fixture
def data(questions, tmp_path):
    records.write(tmp_path / "data.jsonl", questions)
    return tmp_path / "data.jsonl"


def test_decisions_are_added_to_those_of_the_file(data, questions):
    reports = Reports(None, [data])
    first, second = questions[0].id, questions[1].id
    file = data.with_suffix(".decisions.json")
    file.write_text(f'{{"{first}": "keep"}}')
    assert reports.decide("data.jsonl", {second: "drop"}) == 2
    assert reports.decide("data.jsonl", {first: "undecided"}) == 1
    assert read_decisions(file) == {second: "drop"}
    with pytest.raises(UnknownFileError):
        reports.decide("../data.jsonl", {first: "drop"})


def test_review_page_sends_decisions_to_the_app(data):
    assert '"server":"data.jsonl/decisions"' in Reports(None, [data]).review_page("data.jsonl", "data.jsonl/decisions")


def test_only_folders_of_runs_are_offered(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "c" / "run.json").write_text("{}")
    reports = Reports(tmp_path, [])
    assert reports.runs() == ["b/c"]
    with pytest.raises(DataError, match="no such run"):
        reports.run_page(["../x"])
    with pytest.raises(DataError, match=r"run\.json"):
        reports.run_page(["b/c"])


def test_missing_dataset_is_a_mistake_of_the_user(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        Reports(None, [tmp_path / "nothing.jsonl"])
