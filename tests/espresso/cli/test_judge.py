"""`espresso judge run`: Table 2 as a table and as JSON, killed and gone on with, one sentence where it cannot be."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from espresso.schema import Answer, Evidence, Question, Step
from eval.log.run_folder import Configuration, RunFolder
from eval.metrics import Sample
from tests.edges import completion, served

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
CONFIGURATION = Configuration(
    bench="world", split="test", limit=None, strategy="blind", seed=0, profile={}, models={}, prompts={}, questions="1"
)
GOOD = json.dumps({name: {"reason": "so", "score": 7} for name in ("logic", "factuality", "accuracy", "conciseness", "overall")})


@pytest.fixture
def edge():
    """A judge that takes its time."""

    def answers(request):
        time.sleep(server.seconds)
        return 200, completion(GOOD, 9, 9)

    with served(answers=answers) as server:
        server.seconds = 0.0
        yield server


@pytest.fixture
def judge(profile, edge):
    """The test's profile with a judge at the edge; more lines may be given for the judge."""

    def judge(more=""):
        file = profile.with_name("judged.toml")
        file.write_text(profile.read_text() + JUDGE.format(url=edge.url) + more)
        return file

    return judge


@pytest.fixture
def run_folder(tmp_path):
    with RunFolder(tmp_path / "run", CONFIGURATION, {"commit": None}) as folder:
        for number in range(ANSWERS):
            question = Question(id=f"q{number}", visuals=(f"{number}.mp4",), text="Why?", answer="a wall")
            answer = Answer(
                question=question.asked(), text=f"wall {number}", confidence=None, evidence=Evidence(text=""), strategy="blind",
                profile="tiny", trace=(Step(node="answer"),),
            )  # fmt: skip
            folder.append(Sample(id=question.id, question=question, order=(), answer=answer))
    return folder.path


def test_a_judging_prints_table_2_and_what_it_will_cost(espresso, judge, run_folder):
    done = espresso("judge", "run", run_folder, "--profile", judge("price_in = 2.0\nprice_out = 8.0\n"))
    assert done.exit_code == 0, done.output
    for word in ("Log.", "Fac.", "Acc.", "Con.", "Overall", "70.00", "7.00", "95 % interval", "60 of 60 answers scored"):
        assert word in done.stdout
    assert "60 answers to judge: about" in done.stderr
    assert "54,000 written; about $" in done.stderr
    told = json.loads(espresso("judge", "run", run_folder, "--profile", judge(), "--json").stdout)
    assert (told["metrics"]["overall"], told["metrics"]["overall_raw"], told["unscored"]) == (70, 7, {})


def test_killed_and_run_again_it_asks_only_for_what_was_under_way(espresso, judge, run_folder, edge, tmp_path):
    edge.seconds = 0.05
    arguments = ["judge", "run", str(run_folder), "--profile", str(judge()), "--samples", "2"]
    environment = os.environ | {"ESPRESSO_CACHE": str(tmp_path / "cache")}
    running = subprocess.Popen([sys.executable, "-c", "from espresso.cli import app; app()", *arguments], env=environment)
    while len(edge.asked) < 40 and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = len(edge.asked)
    assert before < 2 * ANSWERS
    edge.seconds = 0.0
    done = espresso(*arguments)
    assert "60 of 60 answers scored" in done.stdout
    times = Counter((request["messages"][1]["content"], request["seed"]) for request in edge.asked)
    assert len(times) == 2 * ANSWERS
    assert max(times.values()) <= 2
    assert times.total() - len(times) <= 4 + 1  # those under way: the judge's `concurrency`, and one on its way back


def test_a_cost_limit_is_exit_code_2_with_one_sentence(espresso, judge, run_folder):
    done = espresso("judge", "run", run_folder, "--profile", judge("price_in = 2.0\nprice_out = 8.0\n"), "--max-cost", "0.0001")
    assert done.exit_code == 2
    assert "0 of 60 verdicts are kept: run the same again" in done.stderr


def test_a_profile_without_a_judge_and_a_folder_without_a_run_are_exit_code_2(espresso, profile, run_folder, tmp_path):
    done = espresso("judge", "run", run_folder, "--profile", profile)
    assert (done.exit_code, "it has no judge" in done.stderr) == (2, True)
    done = espresso("judge", "run", tmp_path / "nowhere", "--profile", profile)
    assert (done.exit_code, "cannot be read" in done.stderr) == (2, True)
