"""A run's folder: what survives a kill, and what is refused."""

import json

import pytest

from espresso.errors import DataError
from espresso.schema import Question
from eval.run_folder import RunConfig, RunFolder, read_run
from eval.sample import Sample

CONFIGURATION = RunConfig(
    bench="world", split="test", limit=3, strategy="blind", seed=0, profile={"name": "tiny", "core_frames": 4},
    models={"reasoner": "vlm@1"}, prompts={"answer": "abc"}, questions="123",
)  # fmt: skip


def opened(path, **changes):
    return RunFolder(path, CONFIGURATION.model_copy(update=changes))


def sample(name, error=None):
    return Sample(id=name, question=Question(id=name, visuals=("a.mp4",), text="What?"), order=(), error=error)


def ids(path):
    return [json.loads(line)["id"] for line in (path / "samples.jsonl").read_text().splitlines()]


def test_what_was_written_is_there_the_next_time(tmp_path):
    with opened(tmp_path / "run") as folder:
        folder.append(sample("a"))
    with opened(tmp_path / "run") as folder:
        assert [each.id for each in folder.entries] == ["a"]
        folder.append(sample("b"))
    assert ids(tmp_path / "run") == ["a", "b"]


def test_a_line_is_in_the_file_before_the_run_is_closed(tmp_path):
    with opened(tmp_path / "run") as folder:
        folder.append(sample("a"))
        assert ids(tmp_path / "run") == ["a"]


def test_wherever_the_last_line_is_torn_the_whole_ones_are_kept(tmp_path):
    with opened(tmp_path / "run") as folder:
        folder.append(sample("a"))
        folder.append(sample("b"))
    file = tmp_path / "run" / "samples.jsonl"
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    for size in range(first, len(whole)):
        file.write_bytes(whole[:size])
        with opened(tmp_path / "run") as folder:
            folder.append(sample("b"))
        assert file.read_bytes() == whole


def test_an_error_is_forgotten_when_the_run_goes_on(tmp_path):
    with opened(tmp_path / "run") as folder:
        folder.append(sample("a", error="the server is down"))
        folder.append(sample("b"))
    with opened(tmp_path / "run") as folder:
        assert [each.id for each in folder.entries] == ["b"]
    assert ids(tmp_path / "run") == ["b"]


def test_another_configuration_is_refused_with_the_difference(tmp_path):
    with opened(tmp_path / "run"):
        pass
    changes = {"seed": 1, "profile": {"name": "tiny", "core_frames": 8}}
    with pytest.raises(DataError, match=r"seed: 0 there, 1 requested; profile.core_frames: 4 there, 8 requested"):
        opened(tmp_path / "run", **changes)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"thesis\.txt"):
        opened(tmp_path)
    assert not (tmp_path / "run.json").exists()


def test_a_file_in_the_way_is_one_sentence(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        opened(tmp_path / "run")


def test_two_processes_do_not_write_to_one_run(tmp_path):
    with opened(tmp_path / "run"), pytest.raises(DataError, match="another process"):
        opened(tmp_path / "run")
    with opened(tmp_path / "run"):
        pass


def test_a_spoilt_line_is_named(tmp_path):
    with opened(tmp_path / "run") as folder:
        folder.append(sample("a"))
    file = tmp_path / "run" / "samples.jsonl"
    file.write_bytes(b"{}\n" + file.read_bytes())
    with pytest.raises(DataError, match=r"samples\.jsonl, line 1"):
        opened(tmp_path / "run")


def test_run_json_keeps_the_versions_of_every_start_that_changed_them(tmp_path, monkeypatch):
    for commit in ("1", "1", "2"):
        monkeypatch.setattr("espresso.log.current_environment", lambda commit=commit: {"commit": commit})
        with opened(tmp_path / "run"):
            pass
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [environment["commit"] for environment in record["environments"]] == ["1", "2"]


def test_a_run_of_an_earlier_version_is_resumed(tmp_path):
    """Its profile lacks fields that describe the models, and its steps have no role."""
    profile = {"name": "tiny", "core_frames": 4, "captioner": {"model": "vlm", "cache_gb": 4}}
    newer = {"model": "vlm", "cache_gb": 1, "overhead_gb": 4, "tensor_parallel": 1, "devices": [0], "image_options": None}
    with opened(tmp_path / "run", profile=profile):
        pass
    step = {"node": "evidence", "tokens_visual": 9}
    answer = {"question": {"id": "a", "visuals": ["a.mp4"], "text": "?"}, "text": "yes", "confidence": None}
    answer |= {"evidence": {"text": ""}, "strategy": "blind", "profile": "tiny", "trace": [step]}
    line = {"id": "a", "question": answer["question"], "order": [], "answer": answer}
    (tmp_path / "run" / "samples.jsonl").write_text(json.dumps(line) + "\n")
    with opened(tmp_path / "run", profile=profile | {"about": "new words", "world_only": True, "captioner": newer}) as folder:
        (sample,) = folder.entries
    assert sample.answer.trace[0].role == "reasoner"
    assert read_run(tmp_path / "run").configuration.profile == profile
