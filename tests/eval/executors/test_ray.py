"""The executor `ray` on two real workers of this machine; their models stand behind a small OpenAI-compatible server."""

import asyncio
import os
import shutil
import sys
from hashlib import sha256
from pathlib import Path
from time import sleep
from types import SimpleNamespace

import psutil
import pytest

from espresso import profiles
from espresso.errors import DataError, ModelError, ServerDownError
from espresso.profiles import LocalRole
from espresso.schema import Question
from eval.run import run
from eval.run_folder import read_samples
from eval.sample import Sample
from tests.espresso.cli.conftest import Handler, write_profile
from tests.http_server import http_server

ray = pytest.importorskip("ray")
from ray.exceptions import RayError  # noqa: E402

from agents.ray_cluster import MAX_RESTARTS, cluster, distribute  # noqa: E402 - needs Ray
from eval.executors.ray import lost_samples, name_of  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ray's support of Windows is experimental")
ASKED = 12


class Fickle(Handler):
    """Takes a moment, and chooses by the whole of what it is asked."""

    def choose(self, messages, choices):
        sleep(0.2)
        return choices[int(sha256(repr(messages).encode()).hexdigest(), 16) % len(choices)]


@pytest.fixture(scope="module")
def server():
    with http_server(Fickle) as server:
        yield server.url


@pytest.fixture
def profile(tmp_path, server):
    return write_profile(tmp_path / "served.toml", server)


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # the code that is tested, installed or not
        with cluster(None, 2):
            yield


def workers():
    """Processes of workers that are at it."""
    return [child for child in psutil.Process().children(recursive=True) if child.name().startswith("ray::Worker")]


def told(summary):
    """Everything of the samples but what measures time."""
    rows = [(each.id, each.error, each.order, each.scores, each.answer.text) for each in read_samples(Path(summary.folder))]
    return sorted(rows, key=lambda row: row[0])


def test_a_worker_is_killed_and_every_question_is_answered_once_as_without_ray(profile, tmp_path):
    here = run("world", limit=ASKED, strategy="blind", profile=profile, out=tmp_path / "here")
    killed = []

    def kill_one(progress):
        if progress.doing == "answering" and progress.done and not killed:
            killed.append(workers()[0])
            killed[0].kill()

    there = run(
        "world", limit=ASKED, profile=profile, strategy="blind", executor="ray", out=tmp_path / "ray", on_progress=kill_one
    )
    assert killed
    assert told(there) == told(here)
    assert len(set(each.answer.choice for each in read_samples(Path(there.folder)))) > 1
    assert there.metrics.model_copy(update={"seconds": 0}) == here.metrics.model_copy(update={"seconds": 0})


def test_a_run_that_one_engine_began_the_other_goes_on_with(profile, tmp_path):
    class Enough(Exception):
        pass

    def stop(progress):
        if progress.doing == "answering" and progress.done == 4:
            raise Enough

    folder = tmp_path / "run"
    with pytest.raises(Enough):
        run("world", limit=ASKED, strategy="blind", profile=profile, executor="ray", out=folder, on_progress=stop)
    assert len(read_samples(folder)) >= 4  # what came at the same moment is kept too
    kept = folder / "samples.jsonl"
    kept.write_text("".join(kept.read_text().splitlines(keepends=True)[:4]))
    before = read_samples(folder)
    summary = run("world", limit=ASKED, strategy="blind", profile=profile, out=folder)
    assert read_samples(folder)[:4] == before
    assert summary.metrics.n == ASKED


def test_the_worlds_clips_are_made_where_a_worker_finds_none(profile, tmp_path, monkeypatch):
    monkeypatch.setenv("ESPRESSO_CACHE", str(tmp_path / "cache"))

    def lose_them(progress):
        if progress.doing == "answering" and not progress.done:
            shutil.rmtree(tmp_path / "cache" / "world")

    summary = run("world", limit=3, strategy="blind", profile=profile, executor="ray", on_progress=lose_them)
    assert (summary.metrics.n, summary.metrics.errors) == (3, 0)


def test_where_a_workers_server_is_gone_the_run_stops_and_keeps_its_answers(tmp_path):
    dead = write_profile(tmp_path / "dead.toml", "http://127.0.0.1:9/v1")
    with pytest.raises(ServerDownError, match=r"could not connect to the server of reasoner.*0 of 3 answers are kept"):
        run("world", limit=3, strategy="blind", profile=dead, executor="ray", out=tmp_path / "dead")


def test_a_model_that_a_worker_does_not_have_is_told_as_ever(profile, tmp_path):
    here = profiles.load(profile)
    lost = LocalRole(backend="transformers", model=str(tmp_path / "none"))
    with pytest.raises(ModelError, match=f"^{tmp_path}/none has no config.json"):
        run("world", limit=3, strategy="blind", profile=here.model_copy(update={"reasoner": lost}), executor="ray", out=Path("r"))


HOW = {"name": name_of, "lost": lost_samples, "at_once": 32}


def clip_of(name):
    """A clip with one question."""
    return [Question(id=name, visuals=("clip.mp4",), text="What?")]


async def test_a_clip_that_kills_every_worker_is_an_error_and_the_others_are_answered():
    class Mortal:
        """Dies of one clip."""

        async def ready(self):
            pass

        async def run(self, clip):
            if clip[0].id == "deadly":
                os._exit(1)
            return [Sample(id=question.id, question=question, order=()) for question in clip]

    workers = [ray.remote(Mortal).options(max_restarts=MAX_RESTARTS).remote() for _ in range(2)]
    names, kept = ["one", "deadly", "two", "three", "four"], []
    await distribute(list(map(clip_of, names)), workers, kept.append, **HOW)
    assert sorted(sample.id for sample in kept) == sorted(names)
    assert {sample.id: sample.error for sample in kept if sample.error} == {
        "deadly": "a worker died 2 times while it ran only this clip. "
        "Run the same command again, with fewer workers if memory is short."
    }


def played(turns):
    """Two workers, Ray's part played: answers and losses come after so many turns of the event loop, at the same moment."""

    async def ready():
        pass

    async def ask(clip):
        for _ in range(turns):
            await asyncio.sleep(0)
        if clip[0].id == "deadly":
            raise RayError
        return [Sample(id=question.id, question=question, order=()) for question in clip]

    begun = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=ready))
    return [SimpleNamespace(run=SimpleNamespace(remote=ask), ready=begun)] * 2


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_giving_a_clip_up_last_of_all_ends_the_run(turns):
    kept = []
    async with asyncio.timeout(30):
        await distribute(list(map(clip_of, ["one", "deadly", "two"])), played(turns), kept.append, **HOW)
    assert sorted(sample.id for sample in kept) == ["deadly", "one", "two"]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("place", [1, 2, 3])
async def test_a_disk_that_is_full_ends_the_run_wherever_it_is(turns, place):
    kept = []

    def keep(sample):
        kept.append(sample)
        if len(kept) == place:
            raise OSError("no space left")

    async with asyncio.timeout(30):
        with pytest.raises(ExceptionGroup, check=lambda group: "no space" in str(group.exceptions[0])):
            await distribute(list(map(clip_of, ["one", "two", "three"])), played(turns), keep, **HOW)


def test_no_cluster_is_one_sentence(profile):
    with pytest.raises(ModelError, match=r"^127.0.0.1:9: could not connect to a Ray cluster .*refused"):
        run("world", limit=1, profile=profile, executor="ray", address="127.0.0.1:9")


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"executor": "spark"}, "unknown engine 'spark'"),
        ({"workers": 2}, "need --engine ray"),
        ({"executor": "ray", "workers": 0}, "too few"),
    ],
)
def test_what_no_engine_can_do_is_one_sentence(wish, sentence):
    with pytest.raises(DataError, match=sentence):
        run("world", limit=1, **wish)
