"""`espresso ask`: answers to read, to parse and to show around; anything wrong is one sentence and exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from espresso.schema import Answer

QUESTION = "Where does the square go?"
CLIPS = Path(__file__).parents[3].parent / "shared" / "data" / "video"


def test_an_answer_shows_options_evidence_and_core_frames(espresso, clip, profile):
    done = espresso("ask", clip, QUESTION, "--option", "left", "--option", "right", "--profile", profile)
    assert done.exit_code == 0, done.stderr
    for part in (QUESTION, "right", "80%", "it moves right", "a red square", "s"):
        assert part in done.stdout


def test_json_is_one_answer_and_nothing_else(espresso, clip, profile):
    done = espresso("ask", clip, QUESTION, "--profile", profile, "--json")
    answer = Answer.model_validate_json(done.stdout)
    assert answer.text == "it moves right"
    assert len(answer.core_frames) == 2


def test_a_question_about_a_part_of_a_video_and_its_report(espresso, clip, profile, tmp_path):
    part = f"{clip}#t=0,0.5"
    done = espresso("ask", part, QUESTION, "--profile", profile, "--json", "--report", tmp_path / "page.html")
    answer = Answer.model_validate_json(done.stdout)
    assert answer.visuals[0].source == part
    assert answer.visuals[0].duration <= 0.5
    assert all(core.time < 0.5 for core in answer.core_frames)
    assert part in (tmp_path / "page.html").read_text()


def test_the_environment_chooses_the_profile(espresso, clip, profile, monkeypatch):
    monkeypatch.setenv("ESPRESSO_PROFILE", str(profile))
    done = espresso("ask", clip, QUESTION, "--json")
    assert json.loads(done.stdout)["profile"] == str(profile)


def test_a_strategy_and_a_number_of_frames_are_taken(espresso, clip, profile):
    done = espresso("ask", clip, QUESTION, "--profile", profile, "--strategy", "uniform", "--frames", "3", "--json")
    assert len(json.loads(done.stdout)["core_frames"]) == 3


def test_boxes_need_a_detector(espresso, clip, profile):
    done = espresso("ask", clip, QUESTION, "--profile", profile, "--boxes")
    assert done.exit_code == 2
    assert "has no detector" in done.stderr


def test_a_report_is_written(espresso, clip, profile, tmp_path):
    done = espresso("ask", clip, QUESTION, "--profile", profile, "--report", tmp_path / "page.html")
    assert done.exit_code == 0
    assert QUESTION in (tmp_path / "page.html").read_text()


def test_notes_go_to_standard_error(espresso, clip, profile, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ESPRESSO_CACHE", str(tmp_path / "file"))
    done = espresso("ask", clip, QUESTION, "--profile", profile, "--json")
    assert "note: cannot use the cache" in done.stderr
    assert json.loads(done.stdout)["text"]
    assert espresso("ask", clip, QUESTION, "--profile", profile, "--no-cache").stderr == ""


def _empty(folder):
    (folder / "empty.mp4").touch()
    return "empty.mp4"


def _text(folder):
    (folder / "text.mp4").write_text("this is no video")
    return "text.mp4"


def _folder(folder):
    (folder / "folder.mp4").mkdir()
    return "folder.mp4"


@pytest.mark.parametrize("bad", [lambda _: "missing.mp4", _empty, _text, _folder], ids=["missing", "empty", "text", "folder"])
def test_a_bad_file_is_one_sentence_that_names_it(espresso, profile, tmp_path, bad):
    name = bad(tmp_path)
    done = espresso("ask", tmp_path / name, QUESTION, "--profile", profile)
    assert_refused(done, name)


@pytest.mark.skipif(sys.platform == "win32", reason="file modes are for Unix")
def test_an_unreadable_file_is_one_sentence(profile, clip, tmp_path):
    locked = tmp_path / "locked.mp4"
    locked.write_bytes(clip.read_bytes())
    locked.chmod(0)
    command = [Path(sys.executable).with_name("espresso"), "ask", locked, QUESTION, "--profile", profile]
    if os.geteuid() == 0:  # who reads everything, unless this is taken away
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "locked.mp4" in done.stderr
    assert "denied" in done.stderr.lower()
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--option", "left"], "only one option"),
        (["--frames", "0"], "0 frames"),
        (["--profile", "nobody"], "nobody"),
        (["--report", "nowhere/page.html"], "the folder nowhere does not exist"),
    ],
)
def test_a_bad_option_is_one_sentence(espresso, clip, arguments, said):
    assert_refused(espresso("ask", clip, QUESTION, *arguments), said)


def test_an_unknown_strategy_is_refused_with_the_known_ones(espresso, clip):
    done = espresso("ask", clip, QUESTION, "--strategy", "psychic")
    assert done.exit_code == 2
    assert "'psychic' is not one of 'selector', 'uniform', 'all', 'blind'" in " ".join(done.stderr.replace("│", "").split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("question", "said"), [("", "question is empty"), ("x" * 100_000, "100000 characters")])
def test_a_bad_question_is_one_sentence(espresso, clip, profile, question, said):
    assert_refused(espresso("ask", clip, question, "--profile", profile), said)


def test_a_forgotten_question_is_noticed(espresso, clip):
    assert_refused(espresso("ask", clip), "expected the question here")
    assert_refused(espresso("ask", clip, clip), "expected the question here")
    assert_refused(espresso("ask", clip, f"{clip}#t=0,1"), f"{clip}#t=0,1: expected the question here")
    assert_refused(espresso("ask", "http://zoe:s3cret@h/x?sig=s3cret"), "http://h/x?sig=***: expected the question here")


def test_a_server_that_is_down_is_one_sentence(espresso, clip, profile_of_a_dead_server):
    assert_refused(espresso("ask", clip, QUESTION, "--profile", profile_of_a_dead_server), "127.0.0.1:9")


def test_an_adapter_that_is_missing_is_one_sentence(espresso, clip, profile, tmp_path):
    served, _ = profile.read_text().split("[reasoner]")
    local = '[reasoner]\nbackend = "transformers"\nmodel = "./base"\nadapters = {evidence = "./stage-one"}\n'
    (tmp_path / "local.toml").write_text(served + local)
    done = espresso("ask", clip, QUESTION, "--strategy", "uniform", "--profile", tmp_path / "local.toml")
    assert_refused(done, "stage-one has no adapter_config.json")


def assert_refused(done, said):
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not CLIPS.exists(), reason="the folder of real clips is not beside this checkout")
def test_every_real_clip_ends_with_an_answer_or_one_sentence(espresso, profile):
    for path in sorted(path for path in CLIPS.iterdir() if path.suffix != ".md"):
        done = espresso("ask", path, "What happens?", "--profile", profile, "--json")
        assert done.exit_code in (0, 2), (path.name, done.exception)
        if done.exit_code == 0:
            assert json.loads(done.stdout)["text"], path.name
        else:
            assert_refused(done, path.name)


@pytest.fixture
def world_profile(profile):
    """The same models, said to know only the procedural world."""
    profile.write_text("world_only = true\n" + profile.read_text())
    return profile


def test_a_clip_that_the_models_do_not_know_is_refused(espresso, clip, world_profile):
    done = espresso("ask", clip, QUESTION, "--profile", world_profile)
    assert_refused(done, "--profile laptop (download: ")


def test_an_allowed_answer_shows_its_warning_and_no_confidence(espresso, clip, world_profile, tmp_path):
    arguments = ("ask", clip, QUESTION, "--option", "left", "--option", "right", "--profile", world_profile)
    page = tmp_path / "page.html"
    shown = espresso(*arguments, "--allow-out-of-domain", "--report", page)
    assert shown.exit_code == 0
    assert "warning: " in shown.stdout
    assert "chosen" in shown.stdout
    assert "%" not in shown.stdout
    answer = json.loads(espresso(*arguments, "--allow-out-of-domain", "--json").stdout)
    assert "--profile laptop" in answer["warning"]
    assert (answer["choice"], answer["confidence"], answer["options_probability"]) == ("B", None, {})
    assert answer["warning"].split(": profile")[1] in page.read_text().replace("&#39;", "'")
    assert "confidence" not in page.read_text()
