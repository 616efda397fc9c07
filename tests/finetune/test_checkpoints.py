"""A checkpoint is complete or absent; the newest complete one is resumed, and what is skipped is named."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from espresso.errors import DataError
from finetune.checkpoints import claim_checkpoints, has_checkpoints, latest_checkpoint, left_out
from finetune.lora.collate import TrainingRow
from finetune.lora.examples import load
from finetune.lora.stages import train_stage
from finetune.lora.train import build_trainer
from finetune.tiny.train import train as train_tiny

DAMAGE = {
    "missing": lambda content: None,
    "empty": lambda content: b"",
    "torn": lambda content: content[: len(content) // 2],
    "zero-filled": lambda content: content[: len(content) // 2].ljust(len(content), b"\0"),
    "of another run": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
}


@pytest.fixture(scope="module")
def tiny_config(make_tiny_config, tmp_path_factory):
    """A training of `finetune tiny` of two steps."""
    config = make_tiny_config(tmp_path_factory.mktemp("tiny"), "selector")
    train_tiny(config)
    return config


@pytest.fixture(params=["lora", "tiny"])
def checkpoints(request, tmp_path):
    """A folder with two complete checkpoints, 3 and 1 for LoRA, 2 and 1 for `finetune tiny`."""
    if request.param == "lora":
        folder = request.getfixturevalue("two_stages")[0].output / "evidence-checkpoints"
    else:
        folder = request.getfixturevalue("tiny_config").checkpoints
    folder = Path(shutil.copytree(folder, tmp_path / "checkpoints", ignore=shutil.ignore_patterns("model")))
    (newest,) = folder.glob("checkpoint-*")
    older = Path(shutil.copytree(newest, folder / "checkpoint-1"))
    manifest = json.loads((older / "manifest.json").read_text())
    (older / "manifest.json").write_text(json.dumps(manifest | {"step": 1}))
    return folder, newest, older


def restore(file, content):
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)


def test_the_newest_complete_checkpoint_is_resumed_whatever_happened_to_a_file_of_a_newer_one(checkpoints, caplog):
    folder, newest, older = checkpoints
    assert latest_checkpoint(folder) == str(newest)
    assert not caplog.records
    files = [file for file in sorted(newest.iterdir()) if file.name != "manifest.json"]
    assert {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"} < {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        for damage, change in DAMAGE.items():
            restore(file, change(content))
            caplog.clear()
            assert latest_checkpoint(folder) == str(older), (file.name, damage)
            (record,) = caplog.records
            assert f"cannot resume from {newest.name} ({file.name}" in record.getMessage()
            assert "resuming from checkpoint-1, the newest complete one" in record.getMessage()
        restore(file, content)
    assert latest_checkpoint(folder) == str(newest)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"step'])
def test_a_damaged_manifest_makes_a_checkpoint_incomplete(checkpoints, content):
    folder, newest, older = checkpoints
    (newest / "manifest.json").write_bytes(content)
    assert latest_checkpoint(folder) == str(older)


def test_a_checkpoint_of_an_earlier_version_is_resumed_if_its_files_can_be_read(checkpoints):
    folder, newest, older = checkpoints
    (newest / "manifest.json").unlink()
    assert latest_checkpoint(folder) == str(newest)
    weights = next(newest.glob("*model.safetensors"))
    for name in ("trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", weights.name):
        content = (newest / name).read_bytes()
        for damage in ("missing", "empty", "torn"):
            restore(newest / name, DAMAGE[damage](content))
            assert latest_checkpoint(folder) == str(older), (name, damage)
        restore(newest / name, content)


def test_other_folders_and_files_named_like_checkpoints_are_skipped(checkpoints, caplog):
    folder, newest, older = checkpoints
    shutil.copytree(newest, folder / "checkpoint-4000")
    (folder / "checkpoint-400").mkdir()
    (folder / "checkpoint-500").write_text("a file")
    (folder / "checkpoint-600").symlink_to("nowhere")
    (folder / "checkpoint-best").mkdir()
    assert latest_checkpoint(folder) == str(newest)
    message = caplog.records[-1].getMessage()
    for problem in ("checkpoint-4000 (of step", "checkpoint-500 (cannot be read", "checkpoint-400 (empty)"):
        assert problem in message
    shutil.rmtree(newest)
    shutil.rmtree(older)
    assert latest_checkpoint(folder) is None
    assert "starting from the beginning" in caplog.records[-1].getMessage()


def test_a_checkpoint_of_another_training_in_the_folder_is_skipped(checkpoints):
    folder, newest, older = checkpoints
    manifest = json.loads((newest / "manifest.json").read_text())
    (newest / "manifest.json").write_text(json.dumps(manifest | {"training": "0" * 16}))
    assert latest_checkpoint(folder) == str(older)


def test_an_empty_folder_has_no_checkpoints(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    assert left_out(tmp_path) is None
    (tmp_path / "checkpoint-400").mkdir()
    assert not has_checkpoints(tmp_path)


# Which training the checkpoints belong to


def test_checkpoints_of_another_training_are_refused(two_stages, make_config):
    changed = make_config(two_stages[0].output, batch=8, device_batch=8)
    with pytest.raises(DataError, match=r"checkpoints of another training \(different: data, config\)"):
        train_stage(changed, "evidence", steps=3)


def test_checkpoints_of_another_tiny_training_are_refused(tiny_config):
    with pytest.raises(DataError, match=r"checkpoints of another training \(different: config\)"):
        train_tiny(tiny_config.model_copy(update={"hidden": 32}))


def test_settings_that_do_not_change_what_is_learned_may_change(tmp_path):
    claim_checkpoints(tmp_path, {"steps": 3, "config": {"max_length": 100, "workers": 2, "save_every": 5, "seed": 0}})
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "trainer_state.json").touch()
    claim_checkpoints(tmp_path, {"steps": 3, "config": {"max_length": 200, "workers": 0, "save_every": 1, "seed": 0}})
    with pytest.raises(DataError, match=r"another training \(different: config\)"):
        claim_checkpoints(tmp_path, {"steps": 3, "config": {"max_length": 200, "workers": 0, "save_every": 1, "seed": 1}})


def test_without_checkpoints_a_folder_is_free_for_any_training(tmp_path):
    for steps in (3, 4):
        claim_checkpoints(tmp_path / "checkpoints", {"steps": steps, "base": "a"})
    assert json.loads((tmp_path / "checkpoints" / "training.json").read_text()) == {"steps": 4, "base": "a"}


@pytest.mark.parametrize("content", [b"", b'{"st', b"[]"])
def test_a_damaged_training_json_is_written_again(checkpoints, content):
    folder, newest, _ = checkpoints
    training = json.loads((folder / "training.json").read_text())
    (folder / "training.json").write_bytes(content)
    claim_checkpoints(folder, training)
    assert latest_checkpoint(folder) == str(newest)


def test_a_file_in_place_of_a_folder_is_named(make_config, tmp_path):
    for name in ("evidence", "evidence-checkpoints"):
        output = tmp_path / f"output of {name}"
        output.mkdir()
        (output / name).write_text("a file")
        with pytest.raises(DataError, match=rf"{name}: is a file"):
            train_stage(make_config(output, held_out=[]), "evidence", steps=1)
    with pytest.raises(DataError, match=r"cannot be written \((Not a directory|File exists)\)"):
        train_stage(make_config(tmp_path / "output of evidence" / "evidence"), "evidence", steps=1)


# Killed while it saves

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
import torch, transformers
from finetune import checkpoints
from finetune.lora.config import FinetuneConfig
from finetune.lora.examples import load
from finetune.lora.collate import TrainingRow
from finetune.lora.train import build_trainer
from finetune.tiny import build, train
from finetune.tiny.config import TinyConfig

lora = FinetuneConfig.model_validate_json(sys.argv[1])
rows = [TrainingRow(example) for example in load(lora.data[0]).examples]
trainer = build_trainer(lora, lora.evidence, lora.model, rows, [], lora.output, steps=2)
tiny = TinyConfig.model_validate_json(sys.argv[2])
processor = build.build_processor(tiny)
build.build_processor = lambda _: processor

def train_lora():
    checkpoints.claim_checkpoints(lora.output, {})
    trainer.train()

def kill_at(count, folder):
    # In the second save, at the call of this number of all that write; torch.save writes a half first.
    calls = 0

    def dying(write):
        def wrapper(*args, **kwargs):
            nonlocal calls
            calls += (folder / "checkpoint-1").exists()
            if calls == count:
                if write is save:
                    write(*args, **kwargs)
                    os.truncate(args[1], os.path.getsize(args[1]) // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*args, **kwargs)
        return wrapper

    save = torch.save
    writers = ((torch, "save"), (transformers.Trainer, "_save"), (transformers.TrainerState, "save_to_json"))
    for owner, name in (*writers, (checkpoints, "write_atomic"), (checkpoints, "_flush_folder")):
        setattr(owner, name, dying(getattr(owner, name)))

for folder, run, first in ((lora.output, train_lora, 1), (tiny.checkpoints, lambda: train.train(tiny), 2)):
    for count in range(first, 99, 2):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.fork():
            sys.stdout = sys.stderr = open(os.devnull, "w")
            kill_at(count, folder)
            run()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.wait()[1])
        print("lora" if run is train_lora else "tiny", code, Path(checkpoints.latest_checkpoint(folder)).name, flush=True)
        if not code:
            break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_training_that_is_killed_while_it_saves_keeps_the_checkpoint_before(make_config, make_tiny_config, tmp_path):
    lora = make_config(tmp_path / "lora", data=[{"format": "world", "count": 8}], save_every=1)
    tiny = make_tiny_config(tmp_path, "selector", save_every=1)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, lora.model_dump_json(), tiny.model_dump_json()],
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # GNU's OpenMP does not survive a fork
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [tuple(line.split()) for line in done.stdout.splitlines()]
    for kind in ("lora", "tiny"):
        results = [line[1:] for line in lines if line[:1] == (kind,)]
        assert len(results) > 3, done.stderr[-2000:]
        assert set(results[:-2]) == {("-9", "checkpoint-1")}
        assert results[-2][0] == "-9"  # perhaps after the second checkpoint has its name
        assert results[-1] == ("0", "checkpoint-2")


def test_a_checkpoint_without_its_optimizer_is_not_resumed_and_the_result_is_the_same(two_stages, tmp_path, caplog):
    config = two_stages[0]
    for name in ("evidence", "evidence-checkpoints"):
        shutil.copytree(config.output / name, tmp_path / name)
    (checkpoint,) = (tmp_path / "evidence-checkpoints").glob("checkpoint-*")
    (checkpoint / "optimizer.pt").unlink()
    (tmp_path / "evidence-checkpoints" / "incomplete" / "checkpoint-9").mkdir(parents=True)
    before = load_file(tmp_path / "evidence" / "adapter_model.safetensors")
    train_stage(config.model_copy(update={"output": tmp_path}), "evidence", steps=3)
    assert "checkpoint-3 (optimizer.pt is missing); starting from the beginning" in caplog.text
    after = load_file(tmp_path / "evidence" / "adapter_model.safetensors")
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    names = {path.name for path in (tmp_path / "evidence-checkpoints").iterdir()}
    assert names == {"checkpoint-3", "training.json", "README.md"}
    assert latest_checkpoint(tmp_path / "evidence-checkpoints") == str(checkpoint)


def test_a_training_that_ended_within_an_epoch_takes_no_further_step(make_config, tmp_path):
    config = make_config(tmp_path, data=[{"format": "world", "count": 12}])  # three steps in an epoch
    rows = [TrainingRow(example) for example in load(config.data[0]).examples]
    folder = config.output / "checkpoints"
    claim_checkpoints(folder, {})
    weights = []
    for _ in range(2):
        trainer = build_trainer(config, config.evidence, config.model, rows, [], folder, steps=2)
        trainer.train(resume_from_checkpoint=latest_checkpoint(folder))
        assert trainer.state.global_step == 2
        assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-2"]
        weights.append({name: weight.clone() for name, weight in trainer.model.named_parameters() if "lora_" in name})
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    assert any(weight.any() for name, weight in weights[0].items() if "lora_B" in name)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits on file sizes")
@pytest.mark.parametrize("size", [600_000, 2_000_000])  # less than the adapter; the adapter, but not the optimizer's state
def test_a_full_disk_keeps_the_checkpoint_before(make_config, tmp_path, monkeypatch, size):
    """The limit lets the first checkpoint pass and the second fail."""
    import resource

    from finetune import checkpoints

    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    flush = checkpoints._flush_folder

    def fill(folder):
        flush(folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, unlimited[1]))

    monkeypatch.setattr(checkpoints, "_flush_folder", fill)
    try:
        with pytest.raises(DataError, match=r"evidence-checkpoints: cannot write a checkpoint .*Free disk space"):
            train_stage(make_config(tmp_path, held_out=[], lora={"rank": 32}, save_every=1), "evidence", steps=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    folder = tmp_path / "evidence-checkpoints"
    assert latest_checkpoint(folder) == str(folder / "checkpoint-1")
    assert not (folder / "incomplete").exists()
