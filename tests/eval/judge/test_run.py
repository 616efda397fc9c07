"""A run's answers before a judge: at a real HTTP edge that answers, stumbles and hangs, and once killed."""

import json
import time
from collections import Counter

import pytest

from agents.judge import CRITERIA
from espresso import media, profiles
from espresso.errors import DataError, EspressoError, ProfileError
from espresso.models import Roles
from espresso.schema import Answer, CoreFrame, Evidence, Frame, Question, Step
from eval.judge.budget import SpentError
from eval.judge.results import verdicts_in
from eval.judge.run import judge_run
from eval.log.run_folder import Configuration, RunFolder
from eval.metrics import Sample
from eval.report.table import compare, markdown
from tests.edges import completion, served

CONFIGURATION = Configuration(
    bench="world", split="test", limit=None, strategy="blind", seed=0, profile={"name": "tiny"}, models={}, prompts={},
    questions="123",
)  # fmt: skip
GOOD = [json.dumps({name: {"reason": "so", "score": score} for name in CRITERIA}) for score in range(1, 11)]


@pytest.fixture
def edge():
    """A server that answers as `edge.answers(request)` says: (status, body); `edge.asked` are its requests."""

    with served(answers=lambda request: (200, completion(GOOD[6]))) as server:
        yield server


@pytest.fixture
def judged_at(edge, tmp_path):
    """A profile whose judge is at the edge; its name is new to the cache."""

    def profile(**role):
        said = {
            "backend": "openai",
            "model": f"judge {tmp_path}",
            "base_url": edge.url,
            "context_length": 30000,
            "picture_tokens": 100,
        }
        tiny = profiles.load("tiny").model_dump()
        return profiles.Profile.model_validate(tiny | {"prompts": "general", "judge": said | role})

    return profile


def sample(name, *, answered=True, reference="a wall", clip="a.mp4", cores=()):
    question = Question(id=name, visuals=(clip,), text="Why does it stop?", answer=reference)
    core_frames = tuple(CoreFrame(frame=frame, why="given") for frame in cores)
    answer = Answer(
        question=question.asked(), text=f"because of {name}", confidence=None, evidence=Evidence(text=""),
        core_frames=core_frames, strategy="blind", profile="tiny", trace=(Step(node="answer"),),
    )  # fmt: skip
    return Sample(id=name, question=question, order=(), answer=answer if answered else None, error=None if answered else "ill")


def make_run(path, samples, **changes):
    with RunFolder(path, CONFIGURATION.model_copy(update=changes), {"commit": None}) as folder:
        for each in samples:
            folder.append(each)
    return path


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path / "run", [sample(f"q{number}", clip=f"{number}.mp4") for number in range(12)])


def about(request):
    """The id of the sample that a request is about."""
    (line,) = [line for line in request["messages"][1]["content"].splitlines() if line.startswith("| because of ")]
    return line.removeprefix("| because of ")


def test_a_run_is_judged_in_table_2s_columns_in_both_scales(folder, edge, judged_at):
    scores = {f"q{number}": number % 3 + 6 for number in range(12)}
    edge.answers = lambda request: (200, completion(GOOD[scores[about(request)] - 1]))
    told = judge_run(folder, profile=judged_at()).metrics
    assert (told["n"], told["scored"], told["unscored"], told["tokens_in"]) == (12, 12, 0, 12 * 3 * 100)
    for name in CRITERIA:
        assert (told[name], told[f"{name}_raw"], told[f"{name}_agreement"]) == (pytest.approx(70), pytest.approx(7), 1)
        assert 60 < told[f"{name}_low"] < 70 < told[f"{name}_high"] < 80
    assert {name: verdict.overall for name, verdict in verdicts_in(folder).items()} == scores


def test_judge_and_sampling_go_into_the_run(folder, judged_at):
    judge_run(folder, profile=judged_at(), temperature=0.2)
    about = json.loads((folder / "judge.json").read_text())["configuration"]
    assert about["judge"].startswith("judge ")
    assert (about["samples"], about["temperature"], about["seed"], len(about["prompt"])) == (3, 0.2, 0, 12)


def test_what_has_no_answer_or_no_reference_is_left_out_and_counted(tmp_path, judged_at):
    folder = make_run(tmp_path / "run", [sample("a"), sample("b", reference=None), sample("c", answered=False)])
    told = judge_run(folder, profile=judged_at()).metrics
    assert (told["n"], told["left_out"]) == (1, 2)
    with pytest.raises(DataError, match="no answer in it has a reference"):
        judge_run(make_run(tmp_path / "none", [sample("b", reference=None)]), profile=judged_at())


def test_every_answer_ends_scored_or_unscored_with_its_reason(folder, edge, judged_at, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 1)
    monkeypatch.setattr("espresso.models.openai_client._PAUSE_S", 0.02)
    tries, error = Counter(), {"error": {"message": "oops"}}

    def at_first(*bad):
        """Answer badly first, then well."""
        return lambda key: bad if tries[key] == 1 else (200, completion(GOOD[4]))

    def hang(_):
        time.sleep(1.5)
        return 200, completion(GOOD[4])

    ways = {
        "q0": at_first(429, error),
        "q1": at_first(500, error),
        "q2": at_first(200, completion(GOOD[4][:70])),
        "q3": at_first(200, completion("I would say 8 of 10.")),
        "q4": at_first(200, completion(GOOD[4].replace("5", "11"))),
        "q5": lambda _: (429, error),
        "q6": lambda _: (500, error),
        "q7": lambda _: (200, completion(GOOD[4][:70])),
        "q8": lambda _: (200, completion("I would say 8 of 10.")),
        "q9": lambda _: (200, completion(GOOD[4].replace("5", "0"))),
        "q10": hang,
    }

    def answers(request):
        with edge.lock:
            key = about(request), request["seed"] % 1_000_003  # a reply that is asked for again has a seed of its own
            tries[key] += 1
        return ways.get(about(request), lambda _: (200, completion(GOOD[4])))(key)

    edge.answers = answers
    summary = judge_run(folder, profile=judged_at(timeout=0.4, concurrency=32))
    assert set(verdicts_in(folder)) == {"q0", "q1", "q2", "q3", "q4", "q11"}
    assert {verdict.overall for verdict in verdicts_in(folder).values()} == {5}
    reasons = {
        "q5": "429",
        "q6": "500",
        "q7": "EOF",
        "q8": "I would say 8",
        "q9": "greater than or equal to 1",
        "q10": "no reply",
    }
    assert summary.unscored.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in summary.unscored[name]
    assert (summary.metrics["scored"], summary.metrics["unscored"], summary.metrics["unread"]) == (6, 6, 18)


def test_a_server_that_lets_few_through_ends_with_every_verdict(folder, edge, judged_at, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._PAUSE_S", 0.02)
    room, last = [4.0], [time.monotonic()]

    def limited(_):
        with edge.lock:
            now = time.monotonic()
            room[0], last[0] = min(4.0, room[0] + 60 * (now - last[0])), now
            if room[0] < 1:
                return 429, {"error": {"message": "slow down"}}
            room[0] -= 1
        return 200, completion(GOOD[4])

    edge.answers = limited
    assert judge_run(folder, profile=judged_at(concurrency=36)).metrics["scored"] == 12
    assert len(edge.asked) > 36


def test_a_quota_that_is_used_up_is_not_waited_for(folder, edge, judged_at):
    edge.answers = lambda _: (429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}})
    with pytest.raises(EspressoError, match=r"12 answers were judged and none could be scored; the last: .*exceeded your quota"):
        judge_run(folder, profile=judged_at())


def test_gone_on_with_it_asks_for_nothing_that_it_has(folder, edge, judged_at):
    judge_run(folder, profile=judged_at(), limit=5)
    whole = (folder / "verdicts.jsonl").read_bytes()
    (folder / "verdicts.jsonl").write_bytes(whole[:-9])  # torn
    summary = judge_run(folder, profile=judged_at())
    assert summary.metrics["scored"] == 12
    assert Counter((about(request), request["seed"]) for request in edge.asked).most_common(1)[0][1] == 1
    assert len((folder / "verdicts.jsonl").read_text().splitlines()) == 12


def test_what_is_unscored_is_judged_again(folder, edge, judged_at):
    edge.answers = lambda request: (200, completion("hm" if about(request) == "q3" else GOOD[4]))
    assert judge_run(folder, profile=judged_at()).unscored.keys() == {"q3"}
    edge.answers = lambda _: (200, completion(GOOD[4]))
    edge.asked.clear()
    assert judge_run(folder, profile=judged_at()).unscored == {}
    assert {about(request) for request in edge.asked} == {"q3"}


def test_another_run_of_the_same_answers_pays_nothing(folder, edge, judged_at, tmp_path):
    judge_run(folder, profile=judged_at())
    edge.asked.clear()
    other = make_run(tmp_path / "other", [sample(f"q{number}") for number in range(12)], seed=1)
    told = judge_run(other, profile=judged_at()).metrics
    assert (told["scored"], told["cached"], told["tokens_in"], edge.asked) == (12, 36, 0, [])


def test_another_judge_or_sampling_is_refused_with_the_difference_and_can_go_elsewhere(folder, edge, judged_at, tmp_path):
    judge_run(folder, profile=judged_at())
    with pytest.raises(DataError, match=r"samples: 3 there, 5 asked for"):
        judge_run(folder, profile=judged_at(), samples=5)
    with pytest.raises(DataError, match=r'judge: "judge .*" there, "another" asked for'):
        judge_run(folder, profile=judged_at(model="another"))
    judge_run(folder, profile=judged_at(model="another"), out=tmp_path / "second")
    assert len(verdicts_in(tmp_path / "second")) == 12
    with pytest.raises(DataError, match="run: "):
        judge_run(make_run(tmp_path / "other", [sample("a")], seed=1), profile=judged_at(), out=folder)


def test_a_dead_server_stops_it_and_says_how_many_are_kept(folder, edge, judged_at, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 0)
    judge_run(folder, profile=judged_at(), limit=2)
    dead = judged_at(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(EspressoError, match=r"no server answers there .* 2 of 12 verdicts are kept"):
        judge_run(folder, profile=dead)
    assert len(verdicts_in(folder)) == 2


def test_a_cost_is_told_before_more_than_fifty_answers(tmp_path, edge, judged_at):
    folder, told = make_run(tmp_path / "run", [sample(f"q{number}") for number in range(51)]), []
    priced = judged_at(price_in=2.0, price_out=8.0)
    judge_run(folder, profile=priced, limit=50, samples=1, on_estimate=told.append)
    assert told == []
    judge_run(folder, profile=priced, samples=1, out=tmp_path / "all", on_estimate=told.append)
    judge_run(folder, profile=judged_at(), samples=1, out=tmp_path / "unpriced", on_estimate=told.append)
    with_price, without = told
    assert with_price.answers == 51
    assert with_price.tokens.written == 51 * 300
    assert with_price.dollars == pytest.approx((2 * with_price.tokens.read + 8 * with_price.tokens.written) / 1e6)
    assert without.dollars is None


def test_spending_stops_before_the_limit_and_goes_on_with_more(folder, edge, judged_at):
    priced, each = judged_at(price_in=0.0, price_out=1e4), 0.5  # dollars an answer; two replies as long as can be are 12.80
    with pytest.raises(SpentError, match=r"\$2\.5 of \$15 are spent, .* 5 of 12 verdicts are kept: run the same again"):
        judge_run(folder, profile=priced, samples=1, max_cost=15)
    assert len(edge.asked) * each <= 15
    summary = judge_run(folder, profile=priced, samples=1, max_cost=30)
    assert len(edge.asked) == 12
    assert summary.metrics["dollars"] == 12 * each


def test_a_limit_needs_prices(folder, judged_at, edge):
    with pytest.raises(ProfileError, match="no prices to hold to --max-cost"):
        judge_run(folder, profile=judged_at(), max_cost=1)
    assert edge.asked == []


@pytest.mark.parametrize(
    ("wish", "error", "sentence"),
    [
        ({"temperature": 0}, DataError, "3 samples at temperature 0 tell no more than one"),
        ({"samples": 0}, DataError, "0 samples"),
        ({"profile": profiles.load("tiny").model_copy(update={"judge": None})}, ProfileError, "it has no judge"),
    ],
)
def test_what_cannot_be_judged_is_one_sentence(folder, judged_at, wish, error, sentence):
    with pytest.raises(error, match=sentence):
        judge_run(folder, **{"profile": judged_at()} | wish)


def test_the_core_frames_are_shown_where_that_is_wanted(tmp_path, edge, judged_at, questions):
    clip = questions[0].visuals[0]
    time_s = float(media.open(clip).times[10])
    cores = [Frame(index=10, time=time_s)]
    folder = make_run(tmp_path / "run", [sample("a", clip=clip, cores=cores), sample("b", clip="gone.mp4", cores=cores)])
    summary = judge_run(folder, profile=judged_at(), samples=1, frames=True)
    assert "no such file" in summary.unscored["b"]
    (request,) = edge.asked
    kinds = [part["type"] for part in request["messages"][1]["content"]]
    assert kinds == ["text", "image_url", "text"]
    assert f"At {time_s:.1f} s:" in request["messages"][1]["content"][0]["text"]


def test_a_judge_in_this_process_is_judged_with_as_well(folder, roles, tmp_path):
    roles = Roles(roles.captioner, roles.selector, roles.reasoner, judge=type(roles.selector)(GOOD[7], name=f"judge {tmp_path}"))
    assert judge_run(folder, profile=profiles.load("tiny"), roles=roles).metrics["overall"] == 80


def test_reports_show_what_judges_said(folder, edge, judged_at, tmp_path):
    other = make_run(tmp_path / "other", [sample(f"q{number}", clip=f"{number}.mp4") for number in range(11)], seed=1)
    judge_run(folder, profile=judged_at())
    assert f"| judge | judge {tmp_path} |  |" in markdown(compare([folder, other]))
    edge.answers = lambda _: (200, completion(GOOD[8]))
    judge_run(other, profile=judged_at(model="harsh"))
    lines = markdown(compare([folder, other])).splitlines()
    assert f"| judge | judge {tmp_path} | harsh |" in lines
    assert "| logic, 0 to 100 | 70.0 (70 to 70) | 90.0 (90 to 90) |" in lines


def test_where_replies_cannot_be_kept_for_other_runs_it_says_so(folder, judged_at, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ESPRESSO_CACHE", str(tmp_path / "file"))
    summary = judge_run(folder, profile=judged_at())
    assert summary.metrics["scored"] == 12
    assert "cache cannot be used" in summary.note
