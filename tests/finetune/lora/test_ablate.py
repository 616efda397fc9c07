"""The ablation, small: real trainings of a few steps, real answers of the benchmark."""

from pathlib import Path

import pytest

import espresso
import finetune
from espresso import profiles
from espresso.errors import DataError
from eval.log.run_folder import samples_in
from finetune.config import LoraConfig, read
from finetune.lora.ablate import UNIFORM, VARIANTS, ablate, settings, table

TINY = Path(espresso.__file__).parent / "profiles" / "tiny" / "vlm"
BY_FOLDER = {variant.folder: variant for variant in VARIANTS}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    recipe = Path(finetune.__file__).parent / "configs" / "tiny.yaml"
    return read(recipe, LoraConfig, model=str(TINY), output=tmp_path_factory.mktemp("ablation"), batch=4, device_batch=4)


def test_every_variant_takes_as_many_steps_and_differs_only_in_its_rows(small, tmp_path):
    for variant in (variant for variant in VARIANTS if variant.learns):
        ours = settings(small, variant, 1, 100, tmp_path)
        learnt = ours.data[0].count * (2 if variant.learns == "joint" or variant.two_stages else 1)
        assert learnt == 200
        assert ours.evidence.epochs == ours.answer.epochs == 1
        assert ours.seed == 1
        assert ours.data[0].uniform == (UNIFORM if variant.uniform else None)
        assert ours.answer.learning_rate == (small.answer if variant.two_stages else small.evidence).learning_rate
        assert (ours.lora, ours.model, ours.batch) == (small.lora, small.model, small.batch)
    firsts = {settings(small, BY_FOLDER[name], 1, 100, tmp_path).answer.first for name in ("truth", "predicted", "mix")}
    assert len(firsts) == 1


def test_variants_are_trained_once_and_asked_and_make_a_table(small, monkeypatch):
    chosen = [BY_FOLDER[name] for name in ("base", "answer", "joint", "mix")]
    asked = {"seeds": 1, "rows": 8, "limit": 4, "folder": small.output, "variants": chosen}
    found = ablate(small, profiles.load("tiny"), **asked)
    assert [each.variant.folder for each in found] == ["base", "answer", "joint", "mix"]
    assert all(each.metrics["n"] == 4 and each.metrics["errors"] == 0 for each in found)
    assert "evidence" not in {step.node for step in _steps(small.output / "answer-0")}
    assert "evidence" in {step.node for step in _steps(small.output / "joint-0")}
    assert table(found).count("\n") == 5
    monkeypatch.setattr("finetune.lora.ablate.finetune", lambda *_: pytest.fail("trains again"))
    assert table(ablate(small, profiles.load("tiny"), **asked)) == table(found)
    with pytest.raises(DataError, match="other settings"):
        ablate(small.model_copy(update={"batch": 2}), profiles.load("tiny"), **asked)


def _steps(folder):
    return samples_in(folder / "run")[0].answer.trace


def test_what_has_no_known_truth_is_refused(small, tmp_path):
    records = LoraConfig.model_validate(small.model_dump() | {"data": [{"format": "records", "path": tmp_path / "q.jsonl"}]})
    with pytest.raises(DataError, match="the world alone"):
        ablate(records, profiles.load("tiny"), seeds=1, rows=1, limit=1, folder=tmp_path)
