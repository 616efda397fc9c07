"""`espresso judge run`: Table 2 as a table and as JSON, resumed after a kill."""

import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from espresso.cli import judge as cli_judge
from espresso.schema import Answer, Evidence, Question, Step
from eval.run_folder import RunConfig, RunFolder
from eval.sample import Sample
from tests.http_server import completion, http_server

ANSWERS = 60
JUDGE = """
[judge]
backend = "openai"
model = "judge"
base_url = "{url}"
context_length = 32000
picture_tokens = 100
concurrency = 4
"""
CONFIG = RunConfig(
    bench="world", split="test", limit=None, strategy="blind", seed=0, profile={}, models={}, prompts={}, questions="1"
)
GOOD = json.dumps({name: {"reason": "so", "score": 7} for name in ("logic", "factuality", "accuracy", "conciseness", "overall")})


@pytest.fixture
def judge_server():
    """A judge that replies after `server.seconds`."""

    def answers(request):
        time.sleep(server.seconds)
        return 200, completion(GOOD, 9, 9)

    with http_server(answers=answers) as server:
        server.seconds = 0.0
        yield server


@pytest.fixture
def judge(profile, judge_server):
    """Return the test's profile with a judge at the server; `lines` are added to its section."""

    def judge(lines=""):
        file = profile.with_name("judged.toml")
        file.write_text(profile.read_text() + JUDGE.format(url=judge_server.url) + lines)
        return file

    return judge


@pytest.fixture
def run_folder(tmp_path):
    with RunFolder(tmp_path / "run", CONFIG) as folder:
        for number in range(ANSWERS):
            question = Question(id=f"q{number}", visuals=(f"{number}.mp4",), text="Why?", answer="a wall")
            answer = Answer(
                question=question.without_truth(), text=f"wall {number}", confidence=None, evidence=Evidence(text=""),
                strategy="blind", profile="tiny", trace=(Step(node="answer"),),
            )  # fmt: skip
            folder.append(Sample(id=question.id, question=question, order=(), answer=answer))
    return folder.path


def test_a_run_prints_table_2_and_the_estimated_cost(espresso, judge, run_folder):
    done = espresso("judge", "run", run_folder, "--profile", judge("price_in = 2.0\nprice_out = 8.0\n"))
    assert done.exit_code == 0, done.output
    for word in ("Log.", "Fac.", "Acc.", "Con.", "Overall", "70.00", "7.00", "95 % interval", "60 of 60 answers scored"):
        assert word in done.stdout
    assert "60 answers to judge: about" in done.stderr
    assert "54,000 output tokens; about $" in done.stderr
    summary = json.loads(espresso("judge", "run", run_folder, "--profile", judge(), "--json").stdout)
    assert (summary["metrics"]["overall"], summary["metrics"]["overall_raw"], summary["unscored"]) == (70, 7, {})


def test_a_killed_run_repeats_only_the_requests_in_progress(espresso, judge, run_folder, judge_server, tmp_path):
    judge_server.seconds = 0.05
    arguments = ["judge", "run", str(run_folder), "--profile", str(judge()), "--samples", "2"]
    environment = os.environ | {"ESPRESSO_CACHE": str(tmp_path / "cache")}
    running = subprocess.Popen([sys.executable, "-c", "from espresso.cli import app; app()", *arguments], env=environment)
    while len(judge_server.asked) < 40 and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = len(judge_server.asked)
    assert before < 2 * ANSWERS
    judge_server.seconds = 0.0
    done = espresso(*arguments)
    assert "60 of 60 answers scored" in done.stdout
    times = Counter((request["messages"][1]["content"], request["seed"]) for request in judge_server.asked)
    assert len(times) == 2 * ANSWERS
    assert max(times.values()) <= 2
    assert times.total() - len(times) <= 4 + 1  # in progress: the judge's `concurrency`, and one being returned


def test_a_cost_limit_is_exit_code_2_with_one_sentence(espresso, judge, run_folder):
    done = espresso("judge", "run", run_folder, "--profile", judge("price_in = 2.0\nprice_out = 8.0\n"), "--max-cost", "0.0001")
    assert done.exit_code == 2
    assert "0 of 60 verdicts are saved; run the same command again" in done.stderr


def test_a_profile_without_a_judge_or_a_folder_without_a_run_is_exit_code_2(espresso, profile, run_folder, tmp_path):
    done = espresso("judge", "run", run_folder, "--profile", profile)
    assert (done.exit_code, "has no judge" in done.stderr) == (2, True)
    done = espresso("judge", "run", tmp_path / "nowhere", "--profile", profile)
    assert (done.exit_code, "cannot read" in done.stderr) == (2, True)


def test_the_help_shows_the_shared_defaults_without_importing_a_model_library():
    code = (
        "import sys, espresso.cli.judge\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pydantic', 'langgraph', 'eval', 'agents'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("command", "function"), [("run", "eval.judge.run:judge_run"), ("audit", "eval.judge_audit.audit:audit")]
)
def test_the_command_line_has_the_defaults_of_the_function(command, function):
    module, name = function.split(":")
    signature = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    options = inspect.signature(getattr(cli_judge, command)).parameters
    shared = {option for option in options if option in signature} - {"folder"}
    assert {"samples", "temperature"} <= shared
    for option in shared:
        assert options[option].default.default == signature[option].default, option
