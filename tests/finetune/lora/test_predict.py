"""Predictions are stored beside the first stage's adapter and reused."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from espresso.errors import DataError
from espresso.profiles.weights import weights_digest
from finetune.lora import predict, shared
from finetune.lora.examples import load
from finetune.lora.predict import predict_evidence
from finetune.lora.stages import needs_prediction


@pytest.fixture
def stored(two_stages):
    (file,) = (two_stages[0].output / "evidence").glob("predicted-*.jsonl")
    return file


@pytest.fixture
def examples(two_stages):
    """Examples with predicted evidence, of 12 for training and 8 held out."""
    config = two_stages[0]
    training, held_out = load(config.data[0]).examples[:12], load(config.held_out[0]).examples
    return [*needs_prediction(config, training), *needs_prediction(config, held_out)]


def test_stored_predictions_are_reused(two_stages, base, stored, examples, monkeypatch):
    predictions = dict(json.loads(line) for line in stored.read_text().splitlines())
    assert set(predictions) == {example.id for example in examples}
    monkeypatch.setattr("finetune.lora.predict.Engine", lambda *_: pytest.fail("predicts again"))
    config = two_stages[0]
    assert predict_evidence(config, str(base), config.output / "evidence", examples) == predictions


def test_an_incomplete_last_line_is_predicted_again(two_stages, base, stored, examples):
    complete = stored.read_text()
    stored.write_text(complete[: complete.rstrip("\n").rfind("\n") + 8])
    config = two_stages[0]
    assert len(predict_evidence(config, str(base), config.output / "evidence", examples)) == len(examples)
    assert sorted(stored.read_text().splitlines()) == sorted(complete.splitlines())


@pytest.fixture
def first(base, tmp_path):
    """A copy of the shipped first stage, without predictions."""
    return shutil.copytree(base.parent / "evidence", tmp_path / "first")


@pytest.fixture
def predicted_ids(monkeypatch):
    """Replace the model by one that repeats ids; return the list of ids that it was asked for."""
    ids = []

    class Rows:
        def __init__(self, example):
            self.id = example.id

        def messages(self, style, size):
            ids.append(self.id)
            return self.id

    processor = SimpleNamespace(render=lambda messages: messages)
    generate = lambda prompts, conversations, config: [SimpleNamespace(text=f"evidence of {id_}") for id_ in prompts]  # noqa: E731
    monkeypatch.setattr(predict, "Engine", lambda base, adapters: SimpleNamespace(processor=processor, generate=generate))
    monkeypatch.setattr(predict, "TrainingRow", Rows)
    return ids


def test_one_process_resumes_what_three_have_begun(make_config, first, predicted_ids):
    examples = [SimpleNamespace(id=str(number)) for number in range(9)]
    stem = f"predicted-{weights_digest(first)}"
    (first / f"{stem}.jsonl").write_text('["8", "of an earlier version"]\n')
    (first / f"{stem}.1.jsonl").write_text('["1", "kept"]\n["4", "kept"]\n')
    (first / f"{stem}.2.jsonl").write_text('["2", "kept"]\n["5", "incompl')
    evidence = predict_evidence(make_config(first), "base", first, examples)
    assert predicted_ids == ["0", "3", "5", "6", "7"]
    assert evidence["5"] == "evidence of 5"
    assert [evidence[id_] for id_ in "1248"] == ["kept", "kept", "kept", "of an earlier version"]


def test_a_process_predicts_its_share_and_reports_that_the_others_add_nothing(make_config, first, predicted_ids, monkeypatch):
    monkeypatch.setattr(shared, "STALL_S", 0.0)
    monkeypatch.setattr(shared, "POLL_S", 0.01)
    examples = [SimpleNamespace(id=str(number)) for number in range(5)]
    with pytest.raises(DataError, match=r"3 of 5 predictions are missing.*same file system.*again to resume"):
        predict_evidence(make_config(first), "base", first, examples, rank=1, processes=2)
    assert predicted_ids == ["1", "3"]


SCRIPT = """
import json, os, sys, time
from datetime import timedelta
from pathlib import Path
from accelerate import PartialState
import finetune.lora.train
from finetune.lora import predict, shared
from finetune.lora.config import FinetuneConfig
from finetune.lora.stages import train_stage

rank, folder = int(os.environ["RANK"]), Path(sys.argv[2])
(folder / f"ready-{rank}").touch()
while not all((folder / f"ready-{each}").exists() for each in range(2)):  # the imports take more or less time
    time.sleep(0.02)
PartialState(cpu=True, timeout=timedelta(seconds=4))
generate = predict.Engine.generate

def slow_generate(*args):
    if rank == 0:
        time.sleep(8)
    return generate(*args)

def train(config, stage_config, base, rows, *args, **kwargs):
    (folder / f"evidence-{rank}").write_text(json.dumps([row.prompt_evidence for row in rows]))
    os._exit(0)

predict.Engine.generate = slow_generate
shared.POLL_S = 0.1
finetune.lora.train.train = train
train_stage(FinetuneConfig.model_validate_json(sys.argv[1]), "answer", steps=1)
"""


def test_two_processes_share_the_prediction_and_wait_longer_than_a_barrier_may(make_config, base, first, tmp_path):
    """A collective operation may take 4 s; the prediction takes 8. FSDP must not load zeros."""
    answer = {"learning_rate": 1e-3, "evidence": "predicted", "first": first}
    config = make_config(tmp_path / "out", answer=answer, data=[{"format": "world", "count": 4}], held_out=[])
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script)]
    fsdp = {"ACCELERATE_USE_FSDP": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}
    done = subprocess.run(
        [*launch, config.model_dump_json(), str(tmp_path)],
        env=os.environ | fsdp,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    parts = [dict(map(json.loads, file.read_text().splitlines())) for file in sorted(first.glob("predicted-*.jsonl"))]
    assert [len(part) for part in parts] == [2, 2]
    examples = load(config.data[0]).examples
    shutil.rmtree(first)
    shutil.copytree(base.parent / "evidence", first)
    alone = predict_evidence(config, str(base), first, examples)
    assert parts[0] | parts[1] == alone
    for rank in range(2):
        assert json.loads((tmp_path / f"evidence-{rank}").read_text()) == [alone[example.id] for example in examples]
