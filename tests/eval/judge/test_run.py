"""Judge a run at a real HTTP server that replies, fails, hangs and limits its rate."""

import json
import threading
import time
from collections import Counter

import pytest

from agents.budget import BudgetExceededError
from agents.judge import CRITERIA
from agents.session import Session
from espresso import media, profiles
from espresso.errors import DataError, EspressoError, ProfileError
from espresso.models import Roles
from espresso.schema import Answer, CoreFrame, Evidence, Frame, Question, Step, Truth
from eval.judge.results import read_verdicts
from eval.judge.run import judge_run, run_hash
from eval.report.table import compare, markdown
from eval.run_folder import RunConfig, RunFolder
from eval.sample import Sample
from tests.http_server import completion, http_server

CONFIG = RunConfig(
    bench="world", split="test", limit=None, strategy="blind", seed=0, profile={"name": "tiny"}, models={}, prompts={},
    questions="123",
)  # fmt: skip
GOOD = [json.dumps({name: {"reason": "so", "score": score} for name in CRITERIA}) for score in range(1, 11)]


@pytest.fixture
def server():
    """A server that replies with `server.answers(request)` and keeps requests in `server.asked`."""
    with http_server(answers=lambda request: (200, completion(GOOD[6]))) as server:
        yield server


@pytest.fixture
def judged_at(server, tmp_path):
    """Return a profile with a judge at the server that is new to the cache."""

    def profile(**changes):
        role = {
            "backend": "openai",
            "model": f"judge {tmp_path}",
            "base_url": server.url,
            "context_length": 30000,
            "picture_tokens": 100,
        }
        tiny = profiles.load("tiny").model_dump()
        return profiles.Profile.model_validate(tiny | {"prompts": "general", "judge": role | changes, "judge_compares": True})

    return profile


def sample(name, *, answered=True, reference="a wall", clip="a.mp4", cores=()):
    question = Question(id=name, visuals=(clip,), text="Why does it stop?", answer=reference)
    core_frames = tuple(CoreFrame(frame=frame, why="given") for frame in cores)
    answer = Answer(
        question=question.without_truth(), text=f"because of {name}", confidence=None, evidence=Evidence(text=""),
        core_frames=core_frames, strategy="blind", profile="tiny", trace=(Step(node="answer"),),
    )  # fmt: skip
    return Sample(
        id=name, question=question, order=(), answer=answer if answered else None, error=None if answered else "no reply"
    )


def make_run(path, samples, **changes):
    with RunFolder(path, CONFIG.model_copy(update=changes)) as folder:
        for each in samples:
            folder.append(each)
    return path


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path / "run", [sample(f"q{number}", clip=f"{number}.mp4") for number in range(12)])


def sample_of(request):
    """Return the id of the sample that a request asks about."""
    (line,) = [line for line in request["messages"][1]["content"].splitlines() if line.startswith("| because of ")]
    return line.removeprefix("| because of ")


def test_a_run_is_judged_by_the_criteria_of_table_2_on_both_scales(folder, server, judged_at):
    scores = {f"q{number}": number % 3 + 6 for number in range(12)}
    server.answers = lambda request: (200, completion(GOOD[scores[sample_of(request)] - 1]))
    metrics = judge_run(folder, profile=judged_at()).metrics
    assert (metrics.n, metrics.scored, metrics.unscored, metrics.tokens_in) == (12, 12, 0, 12 * 3 * 100)
    for name in CRITERIA:
        criterion = metrics.criteria[name]
        assert (criterion.mean, criterion.raw, metrics.agreement[name]) == (pytest.approx(70), pytest.approx(7), 1)
        assert 60 < criterion.low < 70 < criterion.high < 80
    assert {name: verdict.overall for name, verdict in read_verdicts(folder).items()} == scores


def test_judge_and_sampling_settings_are_recorded(folder, judged_at):
    judge_run(folder, profile=judged_at(), temperature=0.2)
    config = json.loads((folder / "judge.json").read_text())["configuration"]
    assert config["judge"].startswith("judge ")
    assert (config["samples"], config["temperature"], config["seed"], len(config["prompt"])) == (3, 0.2, 0, 12)


def test_answers_that_were_chosen_among_options_are_not_judged(tmp_path, judged_at):
    def chosen(name):
        free = sample(name)
        return free.model_copy(update={"answer": free.answer.model_copy(update={"choice": "B"})})

    folder = make_run(tmp_path / "mixed", [sample("a"), chosen("b")])
    metrics = judge_run(folder, profile=judged_at()).metrics
    assert (metrics.n, metrics.left_out) == (1, 1)
    with pytest.raises(DataError, match=r"not free answers.*--protocol open"):
        judge_run(make_run(tmp_path / "choices", [chosen("b")]), profile=judged_at())


def test_the_paper_profile_does_not_judge_its_own_reasoner():
    assert profiles.load("paper").judge is None


def test_samples_without_answer_or_reference_are_left_out_and_counted(tmp_path, judged_at):
    folder = make_run(tmp_path / "run", [sample("a"), sample("b", reference=None), sample("c", answered=False)])
    metrics = judge_run(folder, profile=judged_at()).metrics
    assert (metrics.n, metrics.left_out) == (1, 2)
    with pytest.raises(DataError, match="no answer has a reference"):
        judge_run(make_run(tmp_path / "none", [sample("b", reference=None)]), profile=judged_at())


def test_the_reference_is_the_free_answer_of_the_ground_truth_if_there_is_one(tmp_path, server, judged_at):
    with_free_answer = sample("a")
    truth = Truth(spans=(), facts=(), evidence="", answer="It hits a wall and stops.")
    question = with_free_answer.question.model_copy(update={"truth": truth})
    samples = [with_free_answer.model_copy(update={"question": question}), sample("b")]
    judge_run(make_run(tmp_path / "run", samples), profile=judged_at())
    prompts = {sample_of(request): request["messages"][1]["content"] for request in server.asked}
    assert "| It hits a wall and stops." in prompts["a"].splitlines()
    assert "| a wall" in prompts["b"].splitlines()


def test_every_answer_is_scored_or_has_the_reason_why_not(folder, server, judged_at, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 1)
    monkeypatch.setattr("espresso.models.openai_client._PAUSE_S", 0.02)
    tries, error = Counter(), {"error": {"message": "oops"}}

    def at_first(*bad):
        """Fail once, then reply well."""
        return lambda key: bad if tries[key] == 1 else (200, completion(GOOD[4]))

    replies = {
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
    }

    def answers(request):
        with server.lock:
            key = sample_of(request), request["seed"] % 1_000_003  # a retried reply has another seed
            tries[key] += 1
        return replies.get(sample_of(request), lambda _: (200, completion(GOOD[4])))(key)

    server.answers = answers
    summary = judge_run(folder, profile=judged_at(timeout=5, concurrency=32))
    assert set(read_verdicts(folder)) == {"q0", "q1", "q2", "q3", "q4", "q10", "q11"}
    assert {verdict.overall for verdict in read_verdicts(folder).values()} == {5}
    reasons = {
        "q5": "429",
        "q6": "500",
        "q7": "EOF",
        "q8": "I would say 8",
        "q9": "greater than or equal to 1",
    }
    assert summary.unscored.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in summary.unscored[name]
    assert (summary.metrics.scored, summary.metrics.unscored, summary.metrics.unread) == (7, 5, 15)


def test_a_judge_that_does_not_reply_in_time_is_named(tmp_path, server, judged_at, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 1)
    monkeypatch.setattr("espresso.models.openai_client._PAUSE_S", 0.02)
    over = threading.Event()

    def answers(_):
        over.wait()
        return 200, completion(GOOD[4])

    server.answers = answers
    with pytest.raises(EspressoError, match=r"none of 1 answers could be scored; .* no reply .* within 0.5 s, tried 2 times"):
        judge_run(make_run(tmp_path / "run", [sample("a")]), profile=judged_at(timeout=0.5))
    over.set()


def test_a_rate_limited_server_gives_every_verdict_in_the_end(folder, server, judged_at, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._PAUSE_S", 0.02)
    room, last = [4.0], [time.monotonic()]

    def limited(_):
        with server.lock:
            now = time.monotonic()
            room[0], last[0] = min(4.0, room[0] + 60 * (now - last[0])), now
            if room[0] < 1:
                return 429, {"error": {"message": "slow down"}}
            room[0] -= 1
        return 200, completion(GOOD[4])

    server.answers = limited
    assert judge_run(folder, profile=judged_at(concurrency=36)).metrics.scored == 12
    assert len(server.asked) > 36


def test_an_exhausted_quota_is_not_retried(folder, server, judged_at):
    server.answers = lambda _: (429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}})
    with pytest.raises(EspressoError, match=r"none of 12 answers could be scored; the last: .*exceeded your quota"):
        judge_run(folder, profile=judged_at())


def test_a_resumed_run_repeats_no_request(folder, server, judged_at):
    judge_run(folder, profile=judged_at(), limit=5)
    whole = (folder / "verdicts.jsonl").read_bytes()
    (folder / "verdicts.jsonl").write_bytes(whole[:-9])  # a torn last line
    summary = judge_run(folder, profile=judged_at())
    assert summary.metrics.scored == 12
    assert Counter((sample_of(request), request["seed"]) for request in server.asked).most_common(1)[0][1] == 1
    assert len((folder / "verdicts.jsonl").read_text().splitlines()) == 12


def test_unscored_answers_are_judged_again(folder, server, judged_at):
    server.answers = lambda request: (200, completion("hm" if sample_of(request) == "q3" else GOOD[4]))
    assert judge_run(folder, profile=judged_at()).unscored.keys() == {"q3"}
    server.answers = lambda _: (200, completion(GOOD[4]))
    server.asked.clear()
    assert judge_run(folder, profile=judged_at()).unscored == {}
    assert {sample_of(request) for request in server.asked} == {"q3"}


def test_a_second_run_with_the_same_answers_costs_nothing(folder, server, judged_at, tmp_path):
    judge_run(folder, profile=judged_at())
    server.asked.clear()
    other = make_run(tmp_path / "other", [sample(f"q{number}") for number in range(12)], seed=1)
    metrics = judge_run(other, profile=judged_at()).metrics
    assert (metrics.scored, metrics.cached, metrics.tokens_in, server.asked) == (12, 36, 0, [])


def test_another_judge_or_sampling_needs_another_folder(folder, server, judged_at, tmp_path):
    judge_run(folder, profile=judged_at())
    with pytest.raises(DataError, match=r"samples: 3 there, 5 requested"):
        judge_run(folder, profile=judged_at(), samples=5)
    with pytest.raises(DataError, match=r'judge: "judge .*" there, "another" requested'):
        judge_run(folder, profile=judged_at(model="another"))
    judge_run(folder, profile=judged_at(model="another"), out=tmp_path / "second")
    assert len(read_verdicts(tmp_path / "second")) == 12
    with pytest.raises(DataError, match="run: "):
        judge_run(make_run(tmp_path / "other", [sample("a")], seed=1), profile=judged_at(), out=folder)


def test_a_server_that_is_down_stops_the_run_with_the_number_of_saved_verdicts(folder, server, judged_at, monkeypatch):
    monkeypatch.setattr("espresso.models.openai_client._RETRIES", 0)
    judge_run(folder, profile=judged_at(), limit=2)
    dead = judged_at(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(EspressoError, match=r"could not connect to the server .* 2 of 12 verdicts are saved"):
        judge_run(folder, profile=dead)
    assert len(read_verdicts(folder)) == 2


def test_the_cost_of_more_than_fifty_answers_is_estimated_first(tmp_path, server, judged_at):
    folder, estimates = make_run(tmp_path / "run", [sample(f"q{number}") for number in range(51)]), []
    priced = judged_at(price_in=2.0, price_out=8.0)
    judge_run(folder, profile=priced, limit=50, samples=1, on_estimate=estimates.append)
    assert estimates == []
    judge_run(folder, profile=priced, samples=1, out=tmp_path / "all", on_estimate=estimates.append)
    judge_run(folder, profile=judged_at(), samples=1, out=tmp_path / "unpriced", on_estimate=estimates.append)
    with_price, without = estimates
    assert with_price.answers == 51
    assert with_price.tokens.output == 51 * 300
    assert with_price.dollars == pytest.approx((2 * with_price.tokens.input + 8 * with_price.tokens.output) / 1e6)
    assert without.dollars is None


def test_a_run_stops_before_the_cost_limit_and_resumes_with_a_higher_one(folder, server, judged_at):
    priced, each = judged_at(price_in=0.0, price_out=1e4), 0.5  # dollars per answer; two replies of maximum length cost 12.80
    with pytest.raises(
        BudgetExceededError, match=r"\$2\.5 of \$15 are spent, .* 5 of 12 verdicts are saved; run the same command again"
    ):
        judge_run(folder, profile=priced, samples=1, max_cost=15)
    assert len(server.asked) * each <= 15
    summary = judge_run(folder, profile=priced, samples=1, max_cost=30)
    assert len(server.asked) == 12
    assert summary.metrics.dollars == 12 * each


def test_a_cost_limit_needs_prices(folder, judged_at, server):
    with pytest.raises(ProfileError, match="--max-cost needs the judge's prices"):
        judge_run(folder, profile=judged_at(), max_cost=1)
    assert server.asked == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"temperature": 0}, DataError, "all 3 samples would be equal at temperature 0"),
        ({"samples": 0}, DataError, "0 samples"),
        ({"profile": profiles.load("tiny").model_copy(update={"judge": None})}, ProfileError, "has no judge"),
    ],
)
def test_invalid_arguments_are_errors(folder, judged_at, arguments, error, message):
    with pytest.raises(error, match=message):
        judge_run(folder, **{"profile": judged_at()} | arguments)


def test_core_frames_are_shown_on_request(tmp_path, server, judged_at, questions):
    clip = questions[0].visuals[0]
    time_s = float(media.open(clip).times[10])
    cores = [Frame(index=10, time=time_s)]
    folder = make_run(tmp_path / "run", [sample("a", clip=clip, cores=cores), sample("b", clip="gone.mp4", cores=cores)])
    summary = judge_run(folder, profile=judged_at(), samples=1, frames=True)
    assert "no such file" in summary.unscored["b"]
    (request,) = server.asked
    kinds = [part["type"] for part in request["messages"][1]["content"]]
    assert kinds == ["text", "image_url", "text"]
    assert f"At {time_s:.1f} s:" in request["messages"][1]["content"][0]["text"]


def test_a_given_session_is_used_and_stays_open(folder, roles, tmp_path):
    judge = type(roles.selector)(GOOD[7], name=f"judge {tmp_path}")
    closed = []
    judge.close = lambda: closed.append(judge)
    with Session("tiny", roles=Roles(roles.captioner, roles.selector, roles.reasoner, judge=judge)) as session:
        assert judge_run(folder, session=session).metrics.criteria["overall"].mean == 80
        assert judge_run(folder, session=session, out=tmp_path / "again").metrics.cached == 36
    assert closed == []


def test_verdicts_of_earlier_versions_belong_to_the_same_run():
    assert run_hash(CONFIG) == "3234bf1a1d64"


def test_each_verdict_is_written_before_the_next_answer_is_judged(folder, server, judged_at):
    seen = []
    judge_run(folder, profile=judged_at(), on_progress=lambda progress: seen.append((progress.done, len(read_verdicts(folder)))))
    assert seen == [(done, done) for done in range(13)]


def test_reports_show_the_verdicts_of_each_judge(folder, server, judged_at, tmp_path):
    other = make_run(tmp_path / "other", [sample(f"q{number}", clip=f"{number}.mp4") for number in range(11)], seed=1)
    judge_run(folder, profile=judged_at())
    assert f"| judge | judge {tmp_path} |  |" in markdown(compare([folder, other]))
    server.answers = lambda _: (200, completion(GOOD[8]))
    judge_run(other, profile=judged_at(model="harsh"))
    lines = markdown(compare([folder, other])).splitlines()
    assert f"| judge | judge {tmp_path} | harsh |" in lines
    assert "| logic, 0 to 100 | 70.0 (70 to 70) | 90.0 (90 to 90) |" in lines


def test_an_unusable_cache_is_noted(folder, judged_at, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ESPRESSO_CACHE", str(tmp_path / "file"))
    summary = judge_run(folder, profile=judged_at())
    assert summary.metrics.scored == 12
    assert "cannot use the cache" in summary.note


def test_an_unexpected_exception_leaves_its_answer_unscored_and_the_others_scored(folder, roles, tmp_path):
    async def fails(messages, **wishes):
        if "because of q3" in str(messages):
            raise IndexError("list index out of range")
        return await chat(messages, **wishes)

    judge = type(roles.selector)(GOOD[7], name=f"judge {tmp_path}")
    chat, judge.chat = judge.chat, fails
    with Session("tiny", roles=Roles(roles.captioner, roles.selector, roles.reasoner, judge=judge)) as session:
        summary = judge_run(folder, session=session)
    assert (summary.metrics.scored, summary.unscored) == (11, {"q3": "IndexError: list index out of range"})


def test_duplicated_lines_count_once(folder, judged_at):
    before = judge_run(folder, profile=judged_at())
    for name in ("samples.jsonl", "verdicts.jsonl"):
        (folder / name).write_bytes(2 * (folder / name).read_bytes())
    assert len(read_verdicts(folder)) == 12
    assert compare([folder])[0].asked == 12
    assert judge_run(folder, profile=judged_at()) == before
