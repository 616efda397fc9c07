"""Clips are rendered by processes from any program: a script without a guard, stdin, an interactive session."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from espresso.errors import DataError
from espresso.world import workers

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from espresso import world
print("questions:", len(world.make("test", 22, Path({out!r}), size=64, workers=2)))
"""
ROOT = str(Path(__file__).parents[3])


@pytest.mark.parametrize("how", ["script", "stdin", "interactive"])
def test_clips_are_made_from_a_program_without_a_guard(tmp_path, how):
    script = SCRIPT.format(root=ROOT, out=str(tmp_path / "out"))
    (tmp_path / "script.py").write_text(script)
    command = {"script": ["script.py"], "stdin": ["-"], "interactive": ["-i", "-q"]}[how]
    done = subprocess.run(
        [sys.executable, *command],
        input="" if how == "script" else script,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "questions: 22" in done.stdout, done.stderr[-2000:]
    assert len(list((tmp_path / "out" / "clips").glob("*.mp4"))) >= 8  # fewer are rendered in the process itself


def test_results_come_as_the_jobs_are_done_and_errors_keep_their_kind(tmp_path):
    folders = [str(tmp_path / name) for name in ("a", "b", "a")]
    results = workers.run(os.mkdir, folders, 1)
    assert [next(results) for _ in range(2)] == [None, None]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    with pytest.raises(FileExistsError):
        next(results)


def kill_self(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_one_sentence(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])
    monkeypatch.setattr(kill_self, "__module__", Path(__file__).stem)
    monkeypatch.setitem(sys.modules, Path(__file__).stem, sys.modules[__name__])
    with pytest.raises(DataError, match=r"a process that renders clips ended with code -9.*Run the command again"):
        list(workers.run(kill_self, [0], 1))


def test_no_process_stays_when_the_caller_stops(tmp_path):
    results = workers.run(os.mkdir, [str(tmp_path / name) for name in "abcd"], 2)
    next(results)
    results.close()
    with pytest.raises(StopIteration):
        next(results)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if children.exists():
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.read_text().split()]
        assert not [command for command in commands if b"espresso.world.workers" in command]
