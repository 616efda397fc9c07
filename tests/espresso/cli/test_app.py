"""The `espresso` command as a whole: its help is light, its groups are there, and a wrong name is exit code 2."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

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
        ("eval:study", "eval.report.frame_study:selector_study", {"split": "split", "limit": "limit", "count": "counts"}),
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
