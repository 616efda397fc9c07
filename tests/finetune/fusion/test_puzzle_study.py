"""The study of SMART-101, with classifiers of a few weights."""

import json
from collections import defaultdict

import pytest
import yaml
from typer.testing import CliRunner

from espresso.cli import app
from espresso.datasets.smart101.make import build
from espresso.datasets.smart101.questions import Smart101
from finetune.fusion import puzzle_study as study
from finetune.fusion.config import Smart101Study
from finetune.fusion.puzzle_study import run_study, settings_of
from tests.finetune.fusion.test_puzzles import SMALL, STAGE


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    folder = tmp_path_factory.mktemp("puzzles")
    build(folder, [2, 28, 71, 94], 40)
    return {
        **SMALL,
        "pretrain": {**STAGE, "epochs": 0.2, "data": [{"format": "smart101", "rows": 1}]},
        "puzzles": {**STAGE, "epochs": 0.2, "rows": 30, "data": str(folder), "head": "per-puzzle"},
        "weaker": 0.5,
        "seeds": [0, 1],
    }


@pytest.fixture
def config(values, tmp_path, monkeypatch):
    """A study with some of the rows."""
    config = Smart101Study(**values, output=tmp_path / "study")
    kept = [
        (table, name, setting)
        for table, name, setting in settings_of(config)
        if setting.split in ("is", "ps") and table in (study.SPLITS, study.TOWERS, study.HEADS)
    ]
    monkeypatch.setattr(study, "settings_of", lambda _: kept)
    return config


def test_the_tables_have_the_experiments_of_the_paper_s_summary(values, tmp_path):
    named = list(settings_of(Smart101Study(**values, output=tmp_path)))
    rows = {table: [(setting.split, name) for own, name, setting in named if own == table] for table, *_ in named}
    assert {split for split, _ in rows[study.SPLITS]} == {"is", "ps", "as", "fs"}
    assert [name for split, name in rows[study.FUSION] if split == "is"] == ["attention", "concatenation", "pooling"]
    assert [name for _, name in rows[study.TOWERS]] == ["longer pre-training", "shorter pre-training"]
    assert [name for _, name in rows[study.ALIGN]] == ["none", "text-to-image", "image-to-text", "both"]
    assert [name for split, name in rows[study.HEADS] if split == "ps"] == ["shared", "seq2seq"]
    assert [name for _, name in rows[study.MODALITIES]] == ["picture and question", "picture alone", "question alone"]
    assert not [setting for *_, setting in named if setting.split == "ps" and setting.head == "per-puzzle"]


def test_classifiers_are_trained_once_and_an_interrupted_study_resumes(config, monkeypatch):
    measured, measure = [], study._measure

    def interrupted(config, setting, start, trained):
        measured.append(trained.parent.name)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return measure(config, setting, start, trained)

    monkeypatch.setattr(study, "_measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(config, lambda *_: None)
    rows = run_study(config, lambda *_: None)
    different = {setting for *_, setting in study.settings_of(config)}
    assert len(measured) == 2 * len(different) + 1, "only the interrupted one answers again"
    assert run_study(config, lambda *_: None) == rows
    assert len(measured) == 2 * len(different) + 1
    assert not list(config.output.glob("*/puzzles")), "weights of measured classifiers are deleted"
    folders = {path.parent.parent.name for path in config.output.glob("*/*/lineage.json")}
    assert folders == {"pretrain-longer", "pretrain-shorter", "pretrain-longer-held-out"}
    assert json.loads((config.output / "study.json").read_text())[0] == rows[0].model_dump()
    by_name = {(row.table, row.name): row.cells for row in rows}
    basic = by_name["Splits, IS", "per-puzzle head"]
    assert list(basic) == ["O_acc", "S_acc", "WOSA", "counting", "algebra", "math", "measure"]
    assert basic["O_acc"].n == 4 * 6
    assert "S_acc" not in by_name["Splits, PS", "shared head"]
    assert by_name["Splits, PS", "shared head"]["O_acc"].n == 2 * 6, "71 and 94 are test puzzles"
    longer, shorter = (by_name["Towers, IS", f"{name} pre-training"]["O_acc"].mean for name in ("longer", "shorter"))
    difference = by_name["Towers, IS", "longer pre-training minus shorter pre-training"]["O_acc"]
    assert difference.mean == pytest.approx(longer - shorter)
    assert difference.low <= difference.mean <= difference.high


def test_the_pipeline_of_a_profile_answers_the_same_questions(config):
    first, second = study._pipelines(config.model_copy(update={"pipelines": ("smart101",)}))
    assert (first.table, first.name) == ("Classification and generation, IS", "LVLM pipeline, smart101")
    assert (second.table, second.name) == ("Classification and generation, PS", "LVLM pipeline, smart101")
    assert [row.cells["O_acc"].n for row in (first, second)] == [4 * 6, 2 * 6]
    logged = (config.output / "smart101-smart101-ps-test" / "samples.jsonl").read_text()
    assert all(json.dumps(row.puzzle.row.id) in logged for row in study._questions(config, "ps"))


def test_generated_puzzles_of_the_pipeline_are_those_of_the_classifiers(config, monkeypatch):
    asked = {}
    monkeypatch.setattr(study, "pipeline_answers", lambda *args, **settings: asked.update(settings) or defaultdict(bool))
    generated = config.puzzles.model_copy(update={"data": None})
    settings = config.model_copy(update={"pipelines": ("smart101",), "puzzles": generated, "test_rows": 1})
    list(study._pipelines(settings))
    ids = [row.puzzle.row.id for row in study._questions(settings, "ps")]
    assert ids == [each.id for each in Smart101().load("ps-test", asked["limit"]).questions]


def test_wosa_weighs_puzzles_by_difficulty(config):
    weights = study._weights(config, "is")
    difficulty = [row.puzzle.difficulty for row in study._questions(config, "is")]
    assert weights.mean() == pytest.approx(1)
    assert (weights[0] / difficulty[0]) == pytest.approx(weights[-1] / difficulty[-1])


def test_the_command_prints_the_tables(config, values, tmp_path, monkeypatch):
    first = study.settings_of(config)[:1]
    monkeypatch.setattr(study, "settings_of", lambda _: first)
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({**values, "seeds": [0], "output": str(tmp_path / "other")}))
    result = CliRunner().invoke(app, ["eval", "study", "smart101", str(file)])
    assert result.exit_code == 0, result.output
    assert "**Splits, IS**" in result.stdout
    assert (tmp_path / "other" / "study.md").read_text() in result.stdout
