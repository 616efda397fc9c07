"""What is printed when the console, the name of a file or the reader is not what a program expects."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from espresso.cli import app

QUESTION = "Où va le carré? 左"
COMMAND = Path(sys.executable).with_name("espresso")


@pytest.fixture
def strange(clip, tmp_path):
    """The clip under a name that is not UTF-8, and looks like markup."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9[/b].mp4"))
    path.parent.mkdir()
    path.write_bytes(clip.read_bytes())
    return str(path)


def run(*arguments, charset="utf-8"):
    return CliRunner(charset=charset).invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("charset", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("options", [["--json"], []])
def test_an_answer_is_printed_whatever_the_console_and_the_name_are(strange, profile, charset, options, tmp_path):
    page = tmp_path / "page.html"
    arguments = ("ask", strange, QUESTION, "--option", "née", "--option", "右", "--profile", profile, "--report", page)
    done = run(*arguments, *options, charset=charset)
    assert done.exit_code == 0, done.exception
    assert "Où va le carré? 左" in page.read_text(encoding="utf-8")
    assert "caf\\udce9[/b].mp4" in page.read_text(encoding="utf-8") or not options
    if options:
        answer = json.loads(done.stdout_bytes.decode(charset))
        assert (answer["question"]["text"], answer["text"]) == (QUESTION, "右")
        assert answer["visuals"][0]["source"].endswith("caf\\udce9[/b].mp4")
    else:
        assert "carr" in done.stdout_bytes.decode(charset)
        assert ("█" if charset == "utf-8" else "#") in done.stdout_bytes.decode(charset)


def test_a_run_in_a_folder_with_a_strange_name_is_logged_resumed_and_reported(profile, tmp_path):
    out = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9[/b]")
    command = ("eval", "run", "world", "--limit", "1", "--strategy", "blind", "--profile", profile, "--out", out)
    for options in ([], ["--json"]):
        done = run(*command, *options, charset="ascii")
        assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["folder"].endswith("caf\\udce9[/b]")
    for options in ([], ["--json"], ["--markdown"], ["--html", Path(out, "page.html")]):
        assert run("eval", "report", out, *options, charset="ascii").exit_code == 0


@pytest.mark.parametrize("options", [["--json"], []])
def test_a_reader_that_leaves_ends_the_command_quietly_after_the_report(clip, profile, tmp_path, options):
    command = [COMMAND, "ask", clip, QUESTION, "--profile", profile, "--report", tmp_path / "page.html", *options]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == b""
    assert (tmp_path / "page.html").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a full device")
def test_a_full_disk_behind_the_output_is_one_sentence_and_behind_the_notes_none(clip, profile):
    command = [COMMAND, "ask", clip, QUESTION, "--profile", profile, "--json"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 2
        assert done.stderr.decode().startswith("the result cannot be printed (No space left on device)")
        assert done.stderr.count(b"\n") == 1
        done = subprocess.run([*command, "--no-cache"], stdout=subprocess.PIPE, stderr=full, check=False)
        assert json.loads(done.stdout)["text"]


def test_text_is_utf8_in_a_locale_that_is_not(strange, profile):
    """Arguments, the profile, the cache and pages are UTF-8 even where Python's default is ASCII."""
    profile.write_text("# carré\n" + profile.read_text(encoding="utf-8"), encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    done = subprocess.run(
        [COMMAND, "ask", strange, QUESTION, "--profile", profile, "--report", "page.html", "--json"],
        env=environment | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout.decode("ascii"))["question"]["text"] == QUESTION
    assert QUESTION in Path("page.html").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root, to become a user without an entry")
def test_a_user_without_a_home_and_a_name_can_ask(clip, profile, tmp_path):
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o555)
    user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--inh-caps=+dac_read_search"]
    command = [*user, "--ambient-caps=+dac_read_search", "env", "-i", "PATH=/usr/bin:/bin", f"TMPDIR={tmp_path / 'tmp'}"]
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o777)
    arguments = [COMMAND, "ask", clip, QUESTION, "--profile", profile, "--json"]
    done = subprocess.run([*command, *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    assert [path.name for path in (tmp_path / "tmp").iterdir() if path.name.startswith("espresso-")] == ["espresso-54321"]
    assert not Path("~").exists()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("folder", "is a folder"),
        ("nowhere/page.html", "the folder nowhere does not exist"),
        ("file/page.html", "the folder file does not exist"),
        ("n" * 300, "cannot be written"),
        (os.devnull, "is not a regular file"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_asked(clip, tmp_path, profile_of_a_dead_server, path, why):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    done = run("ask", clip, QUESTION, "--profile", profile_of_a_dead_server, "--report", path)
    assert done.exit_code == 2
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_answer_is_printed_even_if_its_report_fails(clip, profile, tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.replace", lambda *given: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    done = run("ask", clip, QUESTION, "--profile", profile, "--report", tmp_path / "page.html", "--json", "--no-cache")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["text"]
    assert "cannot write the page (No space left on device)" in done.stderr


def test_an_audit_whose_folder_cannot_be_written_is_refused_before_anything_is_judged(tmp_path):
    (tmp_path / "file").touch()
    done = run("judge", "audit", "--out", tmp_path / "file")
    assert done.exit_code == 2
    assert "this folder cannot be written to" in done.stderr
