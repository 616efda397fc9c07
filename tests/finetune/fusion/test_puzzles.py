"""Rows of puzzles, features of frozen towers, and predictions."""

import csv

import pytest
import torch

from espresso.datasets.smart101.make import build
from espresso.errors import DataError
from finetune.frames import FrameReader
from finetune.fusion.build import build_processor, build_puzzles
from finetune.fusion.config import FusionTraining, PuzzlesConfig
from finetune.fusion.puzzles import Features, PuzzleCollator, answers, load_rows, predict

SMALL = {
    "encoders": {"image_size": 32, "patch": 16, "vision_layers": 1, "text_layers": 1, "words": "smart101"},
    "architecture": {"hidden": 16, "heads": 2, "feed_forward": 16, "layers": 1, "dropout": 0.0, "frames": 1},
    "frame_size": 32,
    "workers": 0,
}
STAGE = {"epochs": 1, "batch": 8, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty rows of four puzzles as published: one with sequences, and one of the test puzzles."""
    path = tmp_path_factory.mktemp("puzzles")
    build(path, [2, 16, 28, 94], 20)
    return path


@pytest.fixture(scope="module")
def rows(folder):
    return load_rows("is", "train", None, folder)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return FusionTraining(**SMALL, output=tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def processor(config):
    return build_processor(config.encoders)


@pytest.fixture
def make(config, processor, rows):
    def make(hidden=None, features=True, **changes):
        torch.manual_seed(0)
        model = build_puzzles(config, PuzzlesConfig(**STAGE | changes), processor, None, answers(rows)).eval()
        reader = FrameReader(1, 32)
        found = Features(model.fusion, processor, reader) if features else None
        return model, PuzzleCollator(model.config, processor, reader, hidden, found)

    return make


def test_a_part_has_its_rows_and_a_limit_counts_for_each_puzzle(folder, rows):
    assert len(rows) == 4 * 16
    assert len(load_rows("is", "train", 3, folder)) == 4 * 3
    assert {row.puzzle.row.puzzle for row in load_rows("ps", "test", None, folder)} == {94}
    assert len(load_rows("is", "test", 2)) == 2 * 31, "generated without a folder"


def test_rows_without_a_value_and_missing_images_are_left_out_and_counted(folder, tmp_path, caplog):
    build(tmp_path, [2], 20)
    file = tmp_path / "2" / "puzzle_2.csv"
    table = list(csv.reader(file.open()))
    table[1][3] = "many"
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows(table)
    (tmp_path / "2" / "img" / table[2][2]).unlink()
    assert len(load_rows("is", "train", None, tmp_path)) == 14
    assert "1 rows are left out. The first: 2-0000: the answer 'many' of puzzle 2 has no value" in caplog.text
    assert f"1 images were not found, among them 2/img/{table[2][2]}" in caplog.text
    with pytest.raises(DataError):
        load_rows("ps", "test", None, tmp_path)


@pytest.mark.parametrize("head", ["shared", "per-puzzle", "seq2seq"])
def test_features_of_frozen_towers_give_the_scores_of_the_model(make, rows, head):
    (model, cached), (_, direct) = make(head=head), make(head=head, features=False)
    cached.encode(rows[:6])
    with torch.no_grad():
        one, other = model(**cached(rows[:6])), model(**direct(rows[:6]))
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-2, atol=1e-2)


def test_a_trained_head_solves_the_rows_it_has_seen(make, rows):
    model, collate = make(head="per-puzzle", align="both", features=False)
    some = rows[:6]
    batch = collate(some)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(250):
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    found = predict(model, collate, some)
    assert [each.option for each in found] == [row.puzzle.row.answer for row in some]
    assert {each.solved for each in found} == {True}


def test_a_shared_head_chooses_options_and_solves_no_values(make, rows):
    model, collate = make(head="shared")
    found = predict(model, collate, rows)
    with torch.no_grad():
        scores = model(**collate(rows)).logits
    assert [each.option for each in found] == scores.argmax(-1).tolist()
    assert {each.solved for each in found} == {None}


def test_words_of_options_are_neither_padding_nor_special(make, rows):
    _, collate = make(head="shared", features=False)
    batch, tokens = collate(rows[:6]), collate.processor.tokens
    for ids, mask, words in zip(batch["options"], batch["option_mask"], batch["option_words"], strict=True):
        assert not {*ids[words == 1].tolist()} & {*tokens.all_special_ids}
        assert words.sum() == mask.sum() - 2


def test_a_generated_value_that_is_none_solves_nothing(make, rows):
    model, collate = make(head="seq2seq")
    found = predict(model, collate, rows[:6])
    with torch.no_grad():
        values = model.predict_values(**{name: value for name, value in collate(rows[:6]).items() if name != "labels"})
    assert [each.solved for each in found] == [value == row.value for value, row in zip(values, rows[:6], strict=True)]
    assert all(each.option is None for each, value in zip(found, values, strict=True) if not value)


@pytest.mark.parametrize(("hidden", "name"), [("picture", "pictures"), ("question", "questions")])
def test_what_is_hidden_is_the_same_for_all_rows(make, rows, hidden, name):
    _, collate = make(hidden=hidden)
    collate.encode(rows[:4])
    assert (batch := collate(rows[:4]))[name].shape[0] == 4
    assert torch.equal(batch[name], batch[name][:1].expand_as(batch[name]))


def test_the_head_per_puzzle_has_values_of_training_rows_only(make, rows):
    model, _ = make(head="per-puzzle")
    assert list(model.config.answers) == ["2", "16", "28", "94"]
    assert len(model.config.answers["16"]) == 2, "two steps"
    assert model.config.answers["2"] == [sorted({row.value[0] for row in rows if row.puzzle.row.puzzle == 2})]


def test_a_head_per_puzzle_does_not_fit_the_puzzle_split():
    with pytest.raises(ValueError, match="tests puzzles without a head"):
        PuzzlesConfig(**STAGE, split="ps", head="per-puzzle")
