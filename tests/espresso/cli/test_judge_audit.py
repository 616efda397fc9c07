"""`espresso judge audit`: tables, one page, one JSON document, and one sentence for each error."""

import json

from typer.testing import CliRunner

from espresso.cli import app

SMALL = ("judge", "audit", "--questions", "2", "--samples", "1", "--temperature", "0")


def test_an_audit_of_the_tiny_judge_prints_json_and_writes_a_page(tmp_path):
    done = CliRunner().invoke(app, [*SMALL, "--json", "--out", str(tmp_path / "audit")])
    assert done.exit_code == 0, done.output
    audit = json.loads(done.stdout)
    assert audit["judge"].startswith("judge@")
    assert audit["unscored"] == 0
    assert json.loads((tmp_path / "audit" / "audit.json").read_text()) == audit
    assert "Audit of the judge judge@" in (tmp_path / "audit" / "audit.html").read_text()


def test_the_tables_show_what_was_not_measured_and_where_the_page_is(tmp_path):
    done = CliRunner().invoke(app, [*SMALL, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "Ranking accuracy" in done.stdout
    assert "order bias" in done.stdout
    assert f"{tmp_path}/audit.html" in done.stdout


def test_labels_that_cannot_be_read_are_exit_code_2(tmp_path):
    done = CliRunner().invoke(app, [*SMALL, "--labels", str(tmp_path / "nowhere.json")])
    assert done.exit_code == 2
    assert "cannot read the labels" in done.stderr
