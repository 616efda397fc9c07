"""The `espresso` command as a whole: its help is light, its groups are there, and a wrong name is exit code 2."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from espresso.datasets import NAMES

HELP = """
import sys
from espresso.cli import app
try:
    app(["--help"])
except SystemExit:
    print([name for name in ("torch", "transformers", "langgraph", "numpy", "av", "PIL") if name in sys.modules])
"""


def test_help_lists_the_groups_and_imports_nothing_heavy():
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True, cwd=root)
    for group in ("demo", "ask", "eval", "finetune", "world"):
        assert group in done.stdout
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize("group", ["demo", "ask", "eval", "finetune", "world"])
def test_every_group_explains_itself(espresso, group):
    done = espresso(group, "--help")
    assert done.exit_code == 0
    assert "Usage" in done.stdout


def test_a_group_that_does_not_exist_is_exit_code_2(espresso):
    assert espresso("nonsense").exit_code == 2


@pytest.mark.parametrize(
    ("command", "function", "names"),
    [
        ("ask:ask", "agents.ask:ask", {"strategy": "strategy", "frames": "frames", "allow_urls": "allow_urls"}),
        (
            "eval:run",
            "eval.run:run",
            {"engine": "executor"}
            | {name: name for name in ("split", "limit", "strategy", "frames", "protocol", "given_evidence", "seed")},
        ),
        (
            "eval:study_selector",
            "eval.report.frame_study:selector_study",
            {"split": "split", "limit": "limit", "count": "counts"},
        ),
    ],
)
def test_the_command_line_has_the_defaults_of_the_functions(command, function, names):
    def parameters(where, package=""):
        module, name = where.split(":")
        return inspect.signature(getattr(importlib.import_module(package + module), name)).parameters

    options, arguments = parameters(command, "espresso.cli."), parameters(function)
    for option, argument in names.items():
        default = options[option].default.default
        assert (tuple(default) if isinstance(default, list) else default) == arguments[argument].default, option


BROKEN = {
    "empty": b"",
    "binary": bytes(range(256)),
    "nul": b"\0" * 50,
    "torn.json": b'[{"id": "1", "vis',
    "scalar.json": b"7",
    "list.json": b"[1, null]",
    "object.json": b'{"a": 1}',
    "deep.json": b"[" * 100_000,
    "latin.json": b'[{"a": "caf\xe9"}]',
}
COMMANDS = [
    *(["eval", "run", name, "--strategy", "blind", "--data"] for name in NAMES if name != "world"),
    ["eval", "export", "records", "--out", "exported", "--data"],
    ["eval", "run", "world", "--limit", "1", "--strategy", "blind", "--out"],
    ["eval", "report"],
    ["judge", "run"],
    ["judge", "audit", "--labels"],
    ["judge", "audit", "--answers"],
    ["finetune", "evidence"],
    ["finetune", "tiny"],
    ["world", "export"],
    ["world", "make", "--count", "1", "--out"],
    ["ask", "clip.mp4", "Why?", "--profile"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_file_that_is_not_what_a_command_needs_is_one_sentence(espresso, tmp_path, command):
    for name, content in BROKEN.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    for name in (*BROKEN, "folder.toml", "broken", "circle", "missing", "n" * 300):
        if (command[0] in ("world", "eval") and "--out" in command[-1:]) and name in ("folder.toml", "missing", "broken"):
            continue  # a new folder, or an empty one
        done = espresso(*command, name)
        assert done.exit_code == 2, (name, done.exception)
        *_, sentence = done.stderr.splitlines()
        assert len(sentence) > 20
        assert "Traceback" not in done.stderr
