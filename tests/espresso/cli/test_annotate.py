"""The command over real clips; the models stand behind a scripted server."""

import json

import pytest

from tests.agents.annotate.conftest import answer, make_clip, write_profile
from tests.http_server import http_server


@pytest.fixture
def scripted(tmp_path):
    with http_server(answers=lambda request: (200, answer(request))) as server:
        yield write_profile(tmp_path / "scripted.toml", server.url)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "videos" / "deep").mkdir(parents=True)
    make_clip(tmp_path / "videos" / "one.mp4")
    make_clip(tmp_path / "videos" / "deep" / "two.mp4", colour=(20, 20, 220))
    (tmp_path / "videos" / "notes.txt").write_text("no video")
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"")
    return tmp_path / "videos"


def test_a_folder_of_videos_becomes_a_file_of_questions(espresso, folder, scripted, tmp_path):
    done = espresso("annotate", folder, "--out", tmp_path / "data.jsonl", "--profile", scripted)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{tmp_path}/data.jsonl: 2 questions about 2 videos"
    assert lines[1] == f"{tmp_path}/data.rejected.jsonl: 4 rejected pairs (2 by filter, 2 by write)"
    assert lines[2] == "boxes: 4 found for 4 key items in core frames, 4 verified and kept"
    assert lines[3].startswith("cost: $0.00")
    assert lines[4].startswith(f"skipped: {folder}/broken.mp4")
    again = espresso("annotate", folder, "--out", tmp_path / "data.jsonl", "--profile", scripted, "--json")
    assert json.loads(again.stdout)["questions"] == 2


def test_pages_statistics_and_exports_follow(espresso, folder, scripted, tmp_path):
    data = tmp_path / "data.jsonl"
    assert espresso("annotate", folder, "--out", data, "--profile", scripted).exit_code == 0
    page = espresso("annotate", "page", data)
    assert page.stdout.startswith(f"{tmp_path}/data.html: open it in a browser")
    assert "Where does it go?" in (tmp_path / "data.html").read_text()
    assert espresso("annotate", "stats", data, "--out", tmp_path / "statistics").exit_code == 0
    assert (tmp_path / "statistics" / "statistics.png").read_bytes().startswith(b"\x89PNG")
    done = espresso("annotate", "export", data, "--out", tmp_path / "dataset")
    assert done.stdout.splitlines()[0] == f"{tmp_path}/dataset: train: 2 questions about 2 videos"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["empty", "--out", "data.jsonl"], "no video in this folder"),
        (["stats", "none.jsonl", "--out", "x"], "none.jsonl"),
        (["page", "none.jsonl"], "none.jsonl"),
        (["export", "none.jsonl", "--out", "x"], "none.jsonl"),
    ],
)
def test_mistakes_are_one_sentence(espresso, tmp_path, arguments, sentence):
    (tmp_path / "empty").mkdir()
    done = espresso("annotate", *arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
