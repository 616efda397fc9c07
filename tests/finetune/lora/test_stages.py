"""Both stages, for a few steps, through the functions that the command runs: adapters that load, lineage, resuming, refusals."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import espresso
from espresso.errors import DataError, ModelError
from espresso.models import LocalModel
from finetune.config import LoraConfig, World
from finetune.lora.examples import load
from finetune.lora.stages import finetune, own, rows
from finetune.lora.verify_served import STAGES
from finetune.provenance import Lineage, digest

TINY = Path(espresso.__file__).parent / "profiles" / "tiny" / "vlm"


def config(output, **changes):
    settings = {
        "model": str(TINY),
        "output": output,
        "prompts": "tiny",
        "frame_size": 112,
        "data": [{"format": "world", "count": 16}],
        "held_out": [{"format": "world", "split": "val", "count": 8}],
        "evidence": {"learning_rate": 1e-3},
        "answer": {"learning_rate": 5e-4, "evidence": "mix"},
        "batch": 4,
        "device_batch": 4,
        "max_length": 1024,
        "workers": 0,
    }
    return LoraConfig.model_validate(settings | changes)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The two stages, trained for three steps each."""
    settings = config(tmp_path_factory.mktemp("both"))
    return settings, *(finetune(settings, stage, steps=3)[0] for stage in ("evidence", "answer"))


def test_each_stage_tells_where_it_comes_from(both):
    settings, evidence, answer = both
    for made in (evidence, answer):
        assert Lineage.model_validate_json((settings.output / made.stage / "lineage.json").read_bytes()) == made
        assert (made.rows, made.bad, made.steps, made.config) == (12, 0, 3, settings)
        assert 0 < made.before["loss"] != made.after["loss"]
        assert made.merged == 1.0
        assert (settings.output / made.stage / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert evidence.first_digest is None
    assert answer.first_digest
    assert evidence.data_digest != answer.data_digest


def test_the_second_stage_goes_on_from_the_first(both):
    settings = both[0]
    first, second = (load_file(settings.output / stage / "adapter_model.safetensors") for stage in ("evidence", "answer"))
    assert first.keys() == second.keys()
    apart = sum((first[name] - second[name]).abs().sum() for name in first)
    from_nothing = sum(first[name].abs().sum() for name in first if "lora_B" in name)
    assert 0 < apart < sum(second[name].abs().sum() for name in second)
    assert from_nothing > 0


def test_only_the_language_model_is_adapted(both):
    weights = load_file(both[0].output / "evidence" / "adapter_model.safetensors")
    assert all("language_model" in name for name in weights)


async def test_both_adapters_serve_by_name(both):
    folders = {stage: both[0].output / stage for stage in ("evidence", "answer")}
    model, (example, *_) = LocalModel(TINY, adapters=folders), load(both[0].data[0]).examples
    (row,) = rows(both[0], "evidence", [example], {})
    said = [
        await model.chat(row.messages("tiny", 112), adapter=name, choices=["a red star", "a blue circle"])
        for name in (None, "evidence", "answer")
    ]
    assert len({reply.confidence for reply in said}) == 3


def test_what_was_predicted_is_not_predicted_again(both, monkeypatch):
    settings = both[0]
    (file,) = (settings.output / "evidence").glob("predicted-*.jsonl")
    kept = dict(json.loads(line) for line in file.read_text().splitlines())
    everything = [*load(settings.data[0]).examples[:12], *load(settings.held_out[0]).examples]
    asked = [*own(settings, everything[:12]), *own(settings, everything[12:])]
    assert set(kept) == {example.id for example in asked}
    monkeypatch.setattr("finetune.lora.predict.Engine", lambda *_: pytest.fail("predicts again"))
    from finetune.lora.predict import predict

    assert predict(settings, str(TINY), settings.output / "evidence", asked) == kept


def test_a_line_torn_off_is_predicted_again(both):
    settings = both[0]
    (file,) = (settings.output / "evidence").glob("predicted-*.jsonl")
    whole = file.read_text()
    file.write_text(whole[: whole.rstrip("\n").rfind("\n") + 8])
    from finetune.lora.predict import predict

    asked = [*load(settings.data[0]).examples, *load(settings.held_out[0]).examples]
    asked = [example for example in asked if f'"{example.id}"' in whole]
    assert len(predict(settings, str(TINY), settings.output / "evidence", asked)) == len(asked)
    assert sorted(file.read_text().splitlines()) == sorted(whole.splitlines())


@pytest.mark.parametrize(("whose", "most"), [("none", 0), ("truth", 0), ("mix", 70), ("predicted", 100)])
def test_the_second_stage_reads_whose_evidence_it_is_told_to(tmp_path, whose, most):
    settings = config(tmp_path, answer={"learning_rate": 1e-3, "evidence": whose})
    examples = load(World(format="world", count=100)).examples
    mine = own(settings, examples)
    assert most - 40 * (whose == "mix") <= len(mine) <= most
    made = rows(settings, "answer", examples, {example.id: "my own words" for example in mine})
    for row in made:
        given = "" if whose == "none" else row.example.evidence
        assert row.said == ("my own words" if row.example in mine else given)


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path):
    whole, cut = config(tmp_path / "whole"), config(tmp_path / "cut", save_every=1)
    finetune(whole, "evidence", steps=4)
    script = (
        "import sys; from finetune.lora.stages import finetune; from finetune.config import LoraConfig\n"
        "from transformers import TrainerCallback; import os, trl\n"
        "class Stop(TrainerCallback):\n"
        "    def on_save(self, args, state, control, **_):\n"
        "        if state.global_step == 2: os._exit(9)\n"
        "begin = trl.SFTTrainer.train\n"
        "def train(self, **said):\n"
        "    self.add_callback(Stop()); return begin(self, **said)\n"
        "trl.SFTTrainer.train = train\n"
        "finetune(LoraConfig.model_validate_json(sys.argv[1]), 'evidence', steps=4)"
    )
    stopped = subprocess.run([sys.executable, "-c", script, cut.model_dump_json()], capture_output=True, text=True, check=False)
    assert stopped.returncode == 9, stopped.stderr
    made, _ = finetune(cut, "evidence", steps=4)
    one, other = (load_file(each.output / "evidence" / "adapter_model.safetensors") for each in (whole, cut))
    assert made.steps == 4
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_two_processes_learn_what_one_does(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import sys; from finetune.lora.stages import finetune; from finetune.config import LoraConfig\n"
        "import torch.distributed as together\n"
        "finetune(LoraConfig.model_validate_json(sys.argv[1]), 'evidence', steps=4)\n"
        "print('processes:', together.get_world_size() if together.is_initialized() else 1)"
    )
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    weights = {}
    for processes in (1, 2):
        settings = config(tmp_path / str(processes), device_batch=4 // processes)
        command = [sys.executable, *(launch if processes == 2 else []), str(script), settings.model_dump_json()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"processes: {processes}" in done.stdout, done.stderr[-2000:]
        weights[processes] = load_file(settings.output / "evidence" / "adapter_model.safetensors")
    assert all(torch.allclose(weights[1][name], weights[2][name], atol=1e-4) for name in weights[1])


def test_the_second_stage_asks_for_the_first(tmp_path):
    with pytest.raises(DataError, match=r"no first stage there.*espresso finetune evidence"):
        finetune(config(tmp_path), "answer", steps=1)


def test_a_single_stage_needs_no_first_and_reads_no_evidence(tmp_path):
    direct = config(tmp_path, answer={"learning_rate": 1e-3, "evidence": "none"})
    made, loaded = finetune(direct, "answer", steps=3)
    assert made.first_digest is None
    assert all(row.said == "" for row in rows(direct, "answer", loaded.examples, {}))


def test_a_first_stage_of_another_base_is_refused(both, tmp_path):
    made = both[1].model_copy(update={"base_digest": "0" * 16, "base": "another"})
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "lineage.json").write_text(made.model_dump_json())
    with pytest.raises(DataError, match=r"for another base \(another, not .*Train the first stage again"):
        finetune(config(tmp_path), "answer", steps=1)


def test_another_training_does_not_go_on_from_these_checkpoints(both):
    changed = config(both[0].output, batch=8, device_batch=8)
    with pytest.raises(DataError, match="checkpoints of another training"):
        finetune(changed, "evidence", steps=3)


@pytest.mark.skipif(sys.platform == "win32", reason="file sizes are limited by POSIX means")
@pytest.mark.parametrize("room", [600_000, 2_000_000])  # less than the adapter; the adapter, but not the optimizer's state
def test_a_disk_without_room_for_a_checkpoint_is_told(tmp_path, room):
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        "import sys; from finetune.lora.stages import finetune; from finetune.config import LoraConfig\n"
        "finetune(LoraConfig.model_validate_json(sys.argv[1]), 'evidence', steps=2)"
    )
    settings = config(tmp_path, lora={"rank": 32})
    done = subprocess.run([sys.executable, "-c", script, settings.model_dump_json()], capture_output=True, text=True, check=False)
    assert "evidence-checkpoints: cannot be written" in done.stderr
    assert "Make room; the same command goes on." in done.stderr


def test_an_adapter_that_changes_nothing_fails_loudly(tmp_path):
    with pytest.raises(ModelError, match="changes no logits"):
        finetune(config(tmp_path, evidence={"learning_rate": 1e-30}), "evidence", steps=1)


def test_a_batch_that_cannot_be_shared_is_told(tmp_path):
    with pytest.raises(DataError, match="cannot be shared"):
        finetune(config(tmp_path, batch=6, device_batch=4), "evidence", steps=1)


def test_the_shipped_adapters_belong_to_each_other_and_to_the_shipped_base():
    evidence, answer = (Lineage.model_validate_json((TINY.parent / stage / "lineage.json").read_bytes()) for stage in STAGES)
    assert evidence.base_digest == answer.base_digest == digest(TINY)
    assert answer.first_digest == digest(TINY.parent / "evidence")
    assert evidence.merged == answer.merged == 1.0
