"""The same questions on a Ray cluster as in this process."""

import os
import sys

import psutil
import pytest

from agents.annotate import annotate
from espresso.errors import DataError, ModelError
from tests.agents.annotate.conftest import make_clip

pytest.importorskip("ray")
from agents.ray_cluster import cluster

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ray's support of Windows is experimental")


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # the code that is tested, installed or not
        with cluster(None, 2):
            yield


def test_a_worker_is_killed_and_the_output_is_that_of_one_process(clips, profile, tmp_path):
    killed = []

    def kill_one(progress):
        if progress.kept and not killed:
            killed.extend(each for each in psutil.Process().children(recursive=True) if each.name().startswith("ray::Worker"))
            killed[0].kill()

    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    videos = [*clips, broken, *(make_clip(tmp_path / f"{n}.mp4", (40 * n, 90, 90)) for n in range(4))]
    here = annotate(videos, tmp_path / "here.jsonl", profile=profile)
    there = annotate(videos, tmp_path / "there.jsonl", profile=profile, executor="ray", workers=2, on_progress=kill_one)
    assert killed
    assert (tmp_path / "there.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()
    assert there.questions == 7
    assert there.skipped == here.skipped


def test_the_budget_is_divided_among_the_workers(clips, profile, tmp_path):
    with pytest.raises(DataError, match="Give their number with --workers"):
        annotate(clips, tmp_path / "data.jsonl", profile=profile, executor="ray", max_cost=1.0)
    summary = annotate(clips, tmp_path / "data.jsonl", profile=profile, executor="ray", workers=2, max_cost=1.0)
    assert summary.questions == 3


def test_no_cluster_is_one_sentence(clips, profile, tmp_path):
    with pytest.raises(ModelError, match=r"^127.0.0.1:9: could not connect to a Ray cluster"):
        annotate(clips, tmp_path / "data.jsonl", profile=profile, executor="ray", address="127.0.0.1:9")
