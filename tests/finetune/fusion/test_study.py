"""The study of RAIV, with classifiers of a few weights and two steps."""

import json

import numpy as np
import pytest

from espresso.errors import DataError
from finetune.fusion import study
from finetune.fusion.config import RaivStudy
from finetune.fusion.studies import markdown
from finetune.fusion.study import Setting, cells_of, run_study
from tests.finetune.fusion.test_train import SMALL

CELLS = [
    (study.STATEMENTS, "pre-training", "im-im", Setting("pretrain", "im-im")),
    (study.STATEMENTS, "+ TSP, images and videos", "im-im", Setting("tsp", "im-im")),
    (study.STATEMENTS, study.MORE_PAIRS, "im-im", Setting("pretrain", "im-im", times=2)),
    (study.STATEMENTS, "statement alone", "im-im", Setting("tsp", "im-im", hidden=("first", "second"))),
    (study.REASONS, "pre-training", "im-vid", Setting("pretrain", "im-vid", reasons=True)),
    (study.REASONS, "+ TSP, images and videos", "im-vid", Setting("none", "im-vid", reasons=True)),
    *((study.EDITS, name, "50%", Setting("none", "edits", share=0.5, fusion=name.split()[0])) for name in (
        "early", "early + TSP", "mid", "mid + TSP", "late", "late + TSP")),
    (study.MINING, "+ TSP, random pairs", "im-im", Setting("tsp-random", "im-im")),
    (study.MINING, "+ TSP, images and videos", "im-im", Setting("tsp", "im-im")),
]  # fmt: skip


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "WORLD_PAIRS", 200)
    monkeypatch.setattr("espresso.datasets.raiv.questions.WORLD_PAIRS", 200)
    monkeypatch.setattr(study, "cells_of", lambda _: CELLS)
    study._test_pairs.cache_clear()
    values = {name: value for name, value in SMALL.items() if name != "pairs"} | {
        "output": tmp_path / "study",
        "fine_tuning": {"epochs": 0.4, "batch": 8, "learning_rate": 1e-3},
        "count": 42,
        "edits": 42,
        "seeds": (0, 1),
    }
    yield RaivStudy(**values)
    study._test_pairs.cache_clear()


def test_the_tables_have_the_rows_of_the_paper(config):
    cells = list(cells_of(config))
    names = {table: list(dict.fromkeys(row for own, row, *_ in cells if own == table)) for table, *_ in cells}
    assert names[study.STATEMENTS][:4] == [study.NAMES[start] for start in study.TABLE_2] == names[study.REASONS]
    assert names[study.EDITS] == ["early", "early + TSP", "mid", "mid + TSP", "late", "late + TSP"]
    assert names[study.MINING] == ["+ TSP, random pairs", "+ TSP, images and videos"]
    assert {column for own, _, column, _ in cells if own == study.EDITS} == {"1%", "10%", "50%", "100%"}


def test_classifiers_are_trained_once_and_an_interrupted_study_resumes(config, monkeypatch):
    trained, answer = [], study._answer

    def interrupted(folder, config, setting):
        trained.append(folder.parent.name)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return answer(folder, config, setting)

    monkeypatch.setattr(study, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(config, lambda *_: None)
    rows = run_study(config, lambda *_: None)
    different = {setting for *_, setting in CELLS}
    assert len(trained) == 2 * len(different) + 1, "only the interrupted one answers again"
    named = list[str]()
    assert run_study(config, lambda name, *_: named.append(name)) == rows
    assert named == [], "finished trainings are not named again"
    assert len(trained) == 2 * len(different) + 1
    assert not list(config.output.glob("*/pairs")), "weights of measured classifiers are deleted"
    assert [path.name for path in config.output.glob("*/*/lineage.json")] == 3 * ["lineage.json"]
    assert json.loads((config.output / "study.json").read_text())[0] == rows[0].model_dump()
    assert (config.output / "study.md").read_text() == markdown(rows)


def test_a_statement_alone_is_right_once_of_twice(config):
    rows = {(row.table, row.name): row.cells for row in run_study(config, lambda *_: None)}
    assert rows[study.STATEMENTS, "statement alone"]["im-im"].mean == 0.5
    for ours, theirs in (("+ TSP, images and videos", "pre-training"), ("+ TSP, images and videos", study.MORE_PAIRS)):
        both = rows[study.STATEMENTS, ours]["im-im"].mean - rows[study.STATEMENTS, theirs]["im-im"].mean
        difference = rows[study.STATEMENTS, f"{ours} minus {theirs}"]["im-im"]
        assert difference.mean == pytest.approx(both)
        assert difference.low <= difference.mean <= difference.high


def test_a_folder_of_another_study_is_refused(config):
    run_study(config, lambda *_: None)
    with pytest.raises(DataError, match="another"):
        run_study(config.model_copy(update={"count": 50}), lambda *_: None)


def test_results_follow_the_questions(config):
    correct = study._correct(config, Setting("none", "im-im"), 0, wait=True)
    assert len(correct) == len(study._questions(config, Setting("none", "im-im")))
    assert 0 < np.mean(correct) < 1


def test_statements_of_a_writer_are_further_datasets(config):
    assert "im-im-g" not in {setting.dataset for *_, setting in cells_of(config)}
    config = config.model_copy(update={"writer": "raiv"})
    assert {"im-im-g", "im-vid-g", "vid-vid-g"} < {setting.dataset for *_, setting in cells_of(config)}
    config.output.mkdir()
    setting = Setting("none", "im-vid-g")
    correct = study._correct(config, setting, 0, wait=True)
    pairs = study._questions(config, setting)
    assert len(correct) == len(pairs) > 20
    assert sum(pair.label for pair in pairs) == len(pairs) / 2
    assert {pair.dataset for pair in pairs} == {"Im-Vid (G)"}


def test_the_pipeline_of_a_profile_answers_the_same_questions(config, monkeypatch):
    monkeypatch.setattr(study, "WORLD_PAIRS", 20)
    monkeypatch.setattr("espresso.datasets.raiv.questions.WORLD_PAIRS", 20)
    statements, reasons = study._pipelines(config.model_copy(update={"pipelines": ("tiny",)}))
    assert (statements.table, reasons.table) == (study.STATEMENTS, study.REASONS)
    assert {cell.n for cell in statements.cells.values()} == {4}
    assert (config.output / "tiny-raiv-test" / "samples.jsonl").read_text().count("\n") == 12


def test_a_row_without_task_specific_pre_training_has_more_pairs(config, monkeypatch):
    trained = []
    monkeypatch.setattr(study, "_train", lambda *_, **changes: trained.append(changes["pairs"]) or config.output)
    for times in (1, study.MORE):
        study._fine_tune(config, Setting("none", "im-im", times=times), 0, config.output, wait=True)
    assert [pairs.data[0].count for pairs in trained] == [config.count, study.MORE * config.count]
    assert {setting.times for _, row, _, setting in cells_of(config) if row == study.MORE_PAIRS} == {study.MORE}
