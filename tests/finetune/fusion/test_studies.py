"""Studies of several processes share their trainings by locks."""

import pytest
from filelock import FileLock, Timeout

from finetune.fusion import studies
from finetune.fusion.studies import answered, once, share_work


def test_a_training_of_another_process_is_left_until_the_others_are_done(tmp_path):
    calls = []
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "correct.json").write_text("[]")
    share_work(tmp_path, ["a", "b", "c"], lambda each, wait: calls.append((each, wait)), str, lambda *_: None)
    assert calls == [("a", False), ("b", False), ("a", True), ("b", True)], "c has finished"


def test_answers_of_a_locked_folder_are_not_made(tmp_path):
    (tmp_path / "one").mkdir()  # a training makes it
    with FileLock(tmp_path / "one.lock"):
        assert answered(tmp_path / "one", "pairs", lambda: pytest.fail("made twice"), wait=False) is None
        with pytest.raises(Timeout):
            once(tmp_path / "one", lambda: pytest.fail("made twice"), wait=False)
    assert answered(tmp_path / "one", "pairs", lambda: [True], wait=False) == [True]
    assert answered(tmp_path / "one", "pairs", lambda: pytest.fail("made twice"), wait=True) == [True]


def test_weights_are_deleted_once_there_are_answers(tmp_path):
    for part in ("pairs", "pairs-checkpoints", "other"):
        (tmp_path / "one" / part).mkdir(parents=True)
    answered(tmp_path / "one", "pairs", lambda: [], wait=True)
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"other", "correct.json"}


def test_a_pipeline_runs_in_one_process_at_a_time(tmp_path, monkeypatch):
    def run(*_, out, **__):
        with pytest.raises(Timeout), FileLock(tmp_path / f"{out.name}.lock", blocking=False):
            pass

    monkeypatch.setattr(studies, "run", run)
    monkeypatch.setattr(studies, "read_samples", lambda folder: [])
    assert studies.pipeline_answers(tmp_path, "tiny", "world", "test") == {}
