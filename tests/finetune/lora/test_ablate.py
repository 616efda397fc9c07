"""The ablation with small trainings and evaluations of a few questions."""

from pathlib import Path

import pytest

import finetune
from espresso import profiles
from espresso.errors import DataError
from eval.metrics import Metrics
from eval.run_folder import read_samples
from finetune.config import read_config
from finetune.lora.ablate import UNIFORM_FRAMES, VARIANTS, VariantResult, ablate, table, variant_config
from finetune.lora.config import FinetuneConfig

BY_FOLDER = {variant.folder: variant for variant in VARIANTS}


@pytest.fixture(scope="module")
def config(base, tmp_path_factory):
    path = Path(finetune.__file__).parent / "configs" / "lora" / "tiny.yaml"
    changes = {"model": str(base), "output": tmp_path_factory.mktemp("ablation"), "batch": 4, "device_batch": 4}
    return read_config(path, FinetuneConfig, **changes)


def test_all_variants_take_the_same_steps_and_differ_in_their_rows_only(config, tmp_path):
    for variant in (variant for variant in VARIANTS if variant.evidence):
        changed = variant_config(config, variant, 1, 100, tmp_path)
        rows = changed.data[0].count * (2 if variant.evidence == "joint" or variant.has_first_stage else 1)
        assert rows == 200
        assert changed.evidence.epochs == changed.answer.epochs == 1
        assert changed.seed == 1
        assert changed.data[0].uniform == (UNIFORM_FRAMES if variant.uniform else None)
        same_rate = config.answer if variant.has_first_stage else config.evidence
        assert changed.answer.learning_rate == same_rate.learning_rate
        assert changed.answer.has_first_stage == variant.has_first_stage
        assert (changed.lora, changed.model, changed.batch) == (config.lora, config.model, config.batch)
    firsts = {variant_config(config, BY_FOLDER[name], 1, 100, tmp_path).answer.first for name in ("truth", "predicted", "mix")}
    assert len(firsts) == 1


def test_variants_are_trained_once_and_evaluated(config, monkeypatch):
    variants = [BY_FOLDER[name] for name in ("base", "answer", "joint", "mix")]
    options = {"seeds": 1, "rows": 8, "limit": 4, "folder": config.output, "variants": variants}
    results = ablate(config, profiles.load("tiny"), **options)
    assert [result.variant.folder for result in results] == ["base", "answer", "joint", "mix"]
    assert all((result.metrics.n, result.metrics.errors) == (4, 0) for result in results)
    assert "evidence" not in nodes(config.output / "answer-0")
    assert "evidence" in nodes(config.output / "joint-0")
    assert table(results).count("\n") == 5
    monkeypatch.setattr("finetune.lora.ablate.train_stage", lambda *_: pytest.fail("trains again"))
    assert table(ablate(config, profiles.load("tiny"), **options)) == table(results)
    with pytest.raises(DataError, match="other settings"):
        ablate(config.model_copy(update={"batch": 2}), profiles.load("tiny"), **options)


def test_the_table_has_an_interval_over_questions_and_one_over_seeds():
    numbers = {name: None for name in Metrics.model_fields} | {"n": 9, "errors": 0, "seconds": 1.0}
    numbers |= {"accuracy": 0.6, "accuracy_low": 0.55, "accuracy_high": 0.65}
    rows = [VariantResult(VARIANTS[0], seeds, Metrics(**numbers)) for seeds in ((0.5, 0.6, 0.7), (0.6,))]
    *_, three, one = table(rows).splitlines()
    assert "| 60.0% (55.0% to 65.0%) | 60.0% (35.2% to 84.8%) | 50.0%, 60.0%, 70.0% |" in three
    assert "| 60.0% (55.0% to 65.0%) |  | 60.0% |" in one


def nodes(folder):
    return {step.node for step in read_samples(folder / "run")[0].answer.trace}


def test_data_other_than_the_world_is_refused(config, tmp_path):
    records = [{"format": "records", "path": tmp_path / "q.jsonl"}]
    config = FinetuneConfig.model_validate(config.model_dump() | {"data": records})
    with pytest.raises(DataError, match="ground truth from the world"):
        ablate(config, profiles.load("tiny"), seeds=1, rows=1, limit=1, folder=tmp_path)
