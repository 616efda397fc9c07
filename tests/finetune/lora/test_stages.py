"""The second stage continues from the first one and reads the selected evidence."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from espresso.errors import DataError
from espresso.models import TransformersModel
from espresso.profiles.weights import weights_digest
from finetune.lora.config import World
from finetune.lora.examples import load
from finetune.lora.stages import make_rows, needs_prediction, train_stage


def test_the_second_stage_continues_from_the_first(two_stages):
    output = two_stages[0].output
    first, second = (load_file(output / stage / "adapter_model.safetensors") for stage in ("evidence", "answer"))
    assert first.keys() == second.keys()
    difference = sum((first[name] - second[name]).abs().sum() for name in first)
    assert sum(first[name].abs().sum() for name in first if "lora_B" in name) > 0
    assert 0 < difference < sum(second[name].abs().sum() for name in second)


def test_the_second_stage_can_continue_from_an_earlier_result_of_its_own(make_config, two_stages, tmp_path):
    earlier, config = two_stages[0].output, make_config(tmp_path)
    answer = config.answer.model_copy(
        update={"first": earlier / "evidence", "start": earlier / "answer", "evidence": "truth", "learning_rate": 1e-9}
    )
    provenance, _ = train_stage(config.model_copy(update={"answer": answer}), "answer", steps=1)
    assert provenance.start_digest == weights_digest(earlier / "answer")
    assert provenance.first_digest == weights_digest(earlier / "evidence")
    started, ended = (load_file(folder / "answer" / "adapter_model.safetensors") for folder in (earlier, config.output))
    assert max((started[name] - ended[name]).abs().max() for name in started) < 1e-6


def test_each_stage_has_a_loss_curve(two_stages):
    for stage in ("evidence", "answer"):
        assert (two_stages[0].output / stage / "loss.png").read_bytes().startswith(b"\x89PNG")


async def test_both_adapters_are_selected_by_name(two_stages, base):
    config = two_stages[0]
    model = TransformersModel(base, adapters={stage: config.output / stage for stage in ("evidence", "answer")})
    (row,) = make_rows(config, "evidence", load(config.data[0]).examples[:1], {})
    replies = [
        await model.chat(row.messages("tiny", 112), adapter=name, choices=["a red star", "a blue circle"])
        for name in (None, "evidence", "answer")
    ]
    assert len({reply.confidence for reply in replies}) == 3


@pytest.mark.parametrize(("mode", "most"), [("none", 0), ("truth", 0), ("mix", 70), ("predicted", 100)])
def test_the_second_stage_reads_the_selected_evidence(make_config, tmp_path, mode, most):
    config = make_config(tmp_path, answer={"learning_rate": 1e-3, "evidence": mode})
    examples = load(World(format="world", count=100)).examples
    chosen = needs_prediction(config, examples)
    assert most - 40 * (mode == "mix") <= len(chosen) <= most
    rows = make_rows(config, "answer", examples, {example.id: "predicted evidence" for example in chosen})
    assert [row.example for row in rows] == list(examples)
    for row in rows:
        otherwise = "" if mode == "none" else row.example.evidence
        assert row.prompt_evidence == ("predicted evidence" if row.example in chosen else otherwise)


def test_a_joint_stage_learns_evidence_and_answer_of_each_example(make_config, tmp_path):
    config = make_config(tmp_path, answer={"learning_rate": 1e-3, "evidence": "joint"})
    (example,) = load(World(format="world", count=1)).examples
    rows = make_rows(config, "answer", [example], {})
    assert [(row.prompt_evidence, row.reply) for row in rows] == [
        (None, example.evidence),
        (example.evidence, example.answer),
    ]


def test_a_single_stage_needs_no_first_stage_and_reads_no_evidence(make_config, tmp_path):
    config = make_config(tmp_path, answer={"learning_rate": 1e-3, "evidence": "none"})
    provenance, loaded = train_stage(config, "answer", steps=3)
    assert provenance.first_digest is None
    assert all(row.prompt_evidence == "" for row in make_rows(config, "answer", loaded.examples, {}))


def test_two_processes_learn_the_same_as_one(make_config, tmp_path):
    script = tmp_path / "run.py"
    script.write_text("from espresso.cli import app; app()")
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    weights = {}
    for processes in (1, 2):
        config = make_config(tmp_path / str(processes), device_batch=4 // processes)
        file = tmp_path / f"{processes}.yaml"
        file.write_text(config.model_dump_json())
        command = [sys.executable, *(launch if processes == 2 else []), str(script), "finetune", "evidence", str(file)]
        done = subprocess.run([*command, "--steps", "4", "--json"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads(done.stdout)["steps"] == 4, "printed once"
        (manifest,) = (config.output / "evidence-checkpoints").glob("checkpoint-4/manifest.json")
        assert json.loads(manifest.read_text())["processes"] == processes
        weights[processes] = load_file(config.output / "evidence" / "adapter_model.safetensors")
    assert all(torch.allclose(weights[1][name], weights[2][name], atol=1e-4) for name in weights[1])


def test_some_prompts_of_the_second_stage_show_no_frames(make_config, tmp_path):
    config = make_config(tmp_path)
    config = config.model_copy(update={"answer": config.answer.model_copy(update={"without_frames": 0.5})})
    examples = load(World(format="world", count=60)).examples
    rows = make_rows(config, "answer", examples, {})
    hidden = [row for row in rows if not row.show_frames]
    assert 15 < len(hidden) < 45
    assert all(message.pictures == 0 for row in hidden for message in row.messages("tiny", 112))
    assert all(row.example.evidence in str(row.messages("tiny", 112)) for row in hidden)
    assert all(row.show_frames for row in make_rows(config, "evidence", examples, {}))


def test_rows_that_may_show_no_frames_are_checked_with_them(make_config, two_stages, tmp_path):
    config, first = make_config(tmp_path), two_stages[0].output / "evidence"
    answer = config.answer.model_copy(update={"without_frames": 1.0, "evidence": "truth", "first": first})
    config = config.model_copy(update={"answer": answer, "max_length": 110})  # some need more with frames
    provenance, _ = train_stage(config, "answer")
    assert provenance.too_long > 0


def test_a_config_without_a_grounding_section_is_one_sentence(make_config, tmp_path):
    with pytest.raises(DataError, match="no section 'ground'"):
        train_stage(make_config(tmp_path), "ground")
