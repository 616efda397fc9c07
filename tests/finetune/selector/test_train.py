"""Training a selector's head on a task that can be learned in seconds."""

import numpy as np
import pytest
import torch

from agents.ranking import head
from agents.ranking.features import FEATURES, ClipFeatures
from espresso.datasets.nextqa.nextgqa import CaptionedQuestion
from espresso.errors import ModelError
from finetune.selector.config import SelectorConfig
from finetune.selector.cross_validate import cross_validate, fold_of
from finetune.selector.data import Example, collate
from finetune.selector.train import fit, loss, save

WIDTH = 8


def example(number, rng):
    """The third feature tells which captions are inside."""
    count = int(rng.integers(6, 12))
    inside = np.zeros(count, np.float32)
    inside[int(rng.integers(count))] = 1
    features = rng.normal(scale=0.1, size=(count, FEATURES)).astype(np.float32)
    features[:, 2] = inside
    clip = ClipFeatures(rng.normal(scale=0.1, size=(count, WIDTH)).astype(np.float32), features)
    question = CaptionedQuestion(
        id=str(number), video=str(number), kind="CW", question="why", options=(), times=tuple(map(float, range(count))),
        captions=("",) * count, spans=(tuple(np.flatnonzero(inside).tolist()),),
    )  # fmt: skip
    return Example(question, clip, clip, inside)


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(0)
    return [example(number, rng) for number in range(120)]


@pytest.fixture
def config(tmp_path):
    return SelectorConfig(
        data=tmp_path, output=tmp_path / "selector", members=2, hidden=8, projection=4, epochs=10, batch=20,
        learning_rate=0.01, threads=1,
    )  # fmt: skip


def test_what_marks_the_evidence_is_learned_and_survives_saving(examples, config):
    trained = fit(examples, config, lambda *_: None)
    save(trained, config)
    loaded = head.load(config.output)
    right = [loaded.relevance(each.with_options).argmax() == each.inside.argmax() for each in examples]
    assert np.mean(right) > 0.9
    assert (config.output / head.WEIGHTS_FILE).stat().st_size < 3_000_000


def test_the_same_config_gives_the_same_weights(examples, config):
    short = config.model_copy(update={"epochs": 1})
    one, two = (fit(examples, short, lambda *_: None).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_videos_that_were_not_seen_are_measured_with_intervals_and_folds_are_not_trained_twice(examples, config):
    trainings = []
    rows = cross_validate(examples, config, 3, lambda doing, done, total: trainings.append(doing))
    (row,) = [row for row in rows if (row.way, row.count, row.kind) == ("trained", 1, "all")]
    assert row.hit.mean > 0.9
    assert row.hit_against[0].low > 0
    trainings.clear()
    assert cross_validate(examples, config, 3, lambda doing, done, total: trainings.append(doing)) == rows
    assert not trainings


def test_padding_does_not_change_the_loss():
    scores, inside = torch.randn(2, 3, 5), torch.tensor([[0, 1, 0, 0, 0]] * 3).float()
    padded = torch.cat([scores, torch.full((2, 3, 2), 9.0)], -1)
    mask = torch.ones(3, 5)
    for kind in ("listwise", "contrastive", "both"):
        full = loss(padded, torch.cat([inside, torch.zeros(3, 2)], -1), torch.cat([mask, torch.zeros(3, 2)], -1), kind)
        assert torch.allclose(full, loss(scores, inside, mask, kind), atol=1e-5)


def test_padding_does_not_change_the_relevance(examples, config):
    trained = fit(examples, config.model_copy(update={"epochs": 1}), lambda *_: None)
    batch = collate(examples[:8], options=[True] * 8)
    with torch.no_grad():
        scores = trained(batch.products, batch.features, batch.mask.sum(1).long()).mean(0)
    for row, each in zip(scores.numpy(), examples, strict=False):
        assert np.allclose(row[: len(each.inside)], trained.relevance(each.with_options), atol=1e-5)


def test_a_video_is_in_one_fold_in_every_run():
    assert [fold_of(str(video), 5) for video in range(6)] == [fold_of(str(video), 5) for video in range(6)]
    assert len({fold_of(str(video), 5) for video in range(100)}) == 5


def test_a_folder_without_a_head_is_one_sentence(tmp_path):
    with pytest.raises(ModelError, match=r"cannot load this trained selector .*espresso finetune selector"):
        head.load(tmp_path)
