"""`espresso app`: mistakes are refused before anything is rendered; what it does is tested in tests/serving/app."""

import pytest
from typer.testing import CliRunner

from espresso.cli import app


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "nothing"], "nothing"),
        (["--review", "nothing.jsonl"], "nothing.jsonl: no such file"),
        (["--allow-media", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_mistakes_are_one_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["app", "--port", "0", *arguments])
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_lists_the_app():
    assert "app" in CliRunner().invoke(app, ["--help"]).stdout
