"""The classifier of puzzles: what its heads predict, learn and depend on."""

from itertools import product

import pytest
import torch
from transformers import AlbertConfig, CLIPTextConfig, DebertaV2Config, SiglipVisionConfig

from espresso.fusion.config import FusionConfig, PuzzleConfig
from espresso.fusion.model import FusionModel
from espresso.fusion.puzzles import IGNORE_INDEX, PuzzleClassifier, answers_of, encode_options, encode_value
from tests.espresso.fusion.test_model import LAYERS, PICTURE, SIZE, TEXT, VISION

VALUES = [(2, (7,)), (2, (12,)), (2, (-3,)), (16, (1, 6)), (16, (4,)), (58, (13,))]
"""Root puzzles with values of answers; 16 has sequences."""


def config(head="shared", vision="vit", **options):
    return PuzzleConfig(
        vision_config=VISION[vision](**SIZE, **PICTURE).to_dict(),
        text_config=TEXT["bert"](vocab_size=50, max_position_embeddings=40, **SIZE).to_dict(),
        head=head,
        answers=answers_of(VALUES) if head == "per-puzzle" else None,
        **LAYERS | {"initializer_range": 0.1} | options,
    )


def model(settings):
    torch.manual_seed(0)
    return PuzzleClassifier(settings).eval()


def batch(settings, rows=6):
    """Rows with questions of several lengths, and labels."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 50, (rows, 6), generator=generator)
    mask = torch.ones_like(ids)
    ids[0, 4:], mask[0, 4:] = 0, 0
    found = {"pictures": torch.randn(rows, 3, 16, 16, generator=generator), "questions": ids, "question_mask": mask}
    if settings.head == "shared":
        options, choices = torch.arange(5, 19).reshape(7, 2), torch.rand(rows, 7, generator=generator).argsort(1)[:, :5]
        more = {"options": options, "option_mask": torch.ones_like(options), "option_words": torch.ones_like(options)}
        more["option_words"][:, 0] = 0
        return {**found, **more, "choices": choices, "labels": torch.arange(rows) % 5}
    values = [VALUES[row % len(VALUES)] for row in range(rows)]
    labels = [encode_value(settings, puzzle, value) for puzzle, value in values]
    most = max(map(len, labels))
    found["labels"] = torch.tensor([[*each, *[IGNORE_INDEX] * (most - len(each))] for each in labels])
    if settings.head == "per-puzzle":
        found["puzzles"] = torch.tensor([list(settings.answers).index(str(puzzle)) for puzzle, _ in values])
    return found


def predicted(classifier, rows):
    return classifier.predict_values(**{name: value for name, value in rows.items() if name != "labels"})


@pytest.mark.parametrize(
    ("head", "merge", "pool"),
    product(("shared", "per-puzzle", "seq2seq"), ("attention", "concatenation", "pooling"), ("attention", "cls")),
)
def test_every_head_fusion_and_pooling_gives_a_loss_with_gradients(head, merge, pool):
    settings = config(head, merge=merge, pool=pool)
    classifier = model(settings)
    output = classifier(**batch(settings))
    output.loss.backward()
    assert output.loss.isfinite()
    unused = {name for name, weight in classifier.named_parameters() if weight.grad is None and not name.startswith("fusion")}
    assert not unused or (head == "seq2seq" and {name.split(".")[0] for name in unused} <= {"joint", "queries", "pooling"})


@pytest.mark.parametrize("head", ["shared", "per-puzzle", "seq2seq"])
def test_a_head_learns_a_few_rows_by_heart(head):
    settings = config(head)
    classifier, rows = model(settings), batch(settings)
    optimizer = torch.optim.Adam(classifier.parameters(), 3e-3)
    for _ in range(80):
        classifier(**rows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    if head == "shared":
        assert classifier(**rows).logits.argmax(-1).tolist() == rows["labels"].tolist()
    else:
        assert predicted(classifier, rows) == [value for _, value in VALUES]


def test_a_head_per_puzzle_predicts_values_of_its_puzzle_only():
    settings = config("per-puzzle")
    found = predicted(model(settings), batch(settings, 24))
    possible = {puzzle: {value for own, value in VALUES if own == puzzle} for puzzle, _ in VALUES}
    for row, value in enumerate(found):
        puzzle = VALUES[row % len(VALUES)][0]
        assert value in (possible[puzzle] | {(1,), (4, 6)})  # each step of a sequence is predicted on its own


def test_a_value_that_no_training_row_has_is_not_a_label():
    assert encode_value(config("per-puzzle"), 2, (99,)) == [IGNORE_INDEX]


@pytest.mark.parametrize("head", ["shared", "per-puzzle"])
@pytest.mark.parametrize("merge", ["attention", "concatenation", "pooling"])
def test_a_row_scores_the_same_alone_and_padded_in_a_batch(head, merge):
    settings = config(head, merge=merge, align="both")
    classifier, rows = model(settings), batch(settings)
    with torch.no_grad():
        together = classifier(**rows).logits[0]
        shared = {"options", "option_mask", "option_words"}
        alone = {name: value if name in shared else value[:1] for name, value in rows.items()}
        alone |= {name: alone[name][:, :4] for name in ("questions", "question_mask")}
        torch.testing.assert_close(classifier(**alone).logits[0], together, rtol=1e-4, atol=1e-5)


def test_encoded_pictures_and_texts_give_the_same_scores():
    settings = config("shared")
    classifier, rows = model(settings), batch(settings)
    with torch.no_grad():
        expected = classifier(**rows).logits
        rows["pictures"] = classifier.encode_pictures(rows["pictures"])
        rows["questions"] = classifier.encode_texts(rows["questions"], rows["question_mask"])
        rows["options"] = encode_options(
            classifier.fusion, *(rows.pop(name) for name in ("options", "option_mask", "option_words"))
        )
        torch.testing.assert_close(classifier(**rows).logits, expected)


@pytest.mark.parametrize(
    "text",
    [
        DebertaV2Config(vocab_size=50, max_position_embeddings=40, **SIZE),
        CLIPTextConfig(vocab_size=50, max_position_embeddings=40, eos_token_id=49, **SIZE),
        AlbertConfig(vocab_size=50, max_position_embeddings=40, embedding_size=8, **SIZE),
    ],
    ids=lambda text: text.model_type,
)
def test_options_are_read_with_other_text_encoders(text):
    parts = config("shared").to_dict() | {"text_config": text.to_dict()}
    settings = PuzzleConfig(**{name: parts[name] for name in ("vision_config", "text_config")}, **LAYERS, head="shared")
    classifier = model(settings)
    output = classifier(**batch(settings))
    output.loss.backward()
    assert output.logits.shape == (6, 5)
    assert classifier.option_input[1].weight.grad.abs().sum() > 0


def test_an_option_without_words_has_a_score():
    settings = config("shared")
    classifier, rows = model(settings), batch(settings)
    rows["option_words"][0] = 0
    assert classifier(**rows).logits.isfinite().all()


@pytest.mark.parametrize(
    ("align", "text", "visual"), [("none", 0, 0), ("text-to-image", 0, 1), ("image-to-text", 1, 0), ("both", 1, 1)]
)
def test_alignment_has_the_cross_attention_layers_of_the_pretrained_model(tmp_path, align, text, visual):
    parts = config().to_dict()
    pretrained = FusionModel(FusionConfig(**{name: parts[name] for name in ("vision_config", "text_config")}, **LAYERS))
    pretrained.save_pretrained(tmp_path)
    classifier = PuzzleClassifier.from_pretrained(tmp_path, config=config(align=align))
    assert (len(classifier.fusion.text_layers), len(classifier.fusion.visual_layers)) == (text, visual)
    weights = pretrained.state_dict()
    for name, weight in classifier.fusion.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_a_saved_classifier_answers_the_same(tmp_path):
    settings = config("per-puzzle")
    classifier, rows = model(settings), batch(settings)
    classifier.save_pretrained(tmp_path)
    again = PuzzleClassifier.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(**rows).logits, classifier(**rows).logits)
    assert predicted(again, rows) == predicted(classifier, rows)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="no class token"):
        config(vision="siglip", pool="cls")
    with pytest.raises(ValueError, match="needs answers"):
        PuzzleConfig(vision_config=SiglipVisionConfig(**SIZE).to_dict(), text_config=TEXT["bert"]().to_dict(), head="per-puzzle")
