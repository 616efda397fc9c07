"""Exports of datasets about clips of the world, read back by this project's loaders and by `datasets`."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from agents.annotate import annotate
from agents.annotate.dataset.export import export
from agents.annotate.dataset.output import rejected_file
from agents.annotate.records import RejectedPair
from espresso import media, world
from espresso.datasets import DatasetFiles, get_dataset, records
from espresso.datasets.boxes import grounded
from espresso.errors import DataError, MediaError
from espresso.schema import Frame, KeyItem, Question, Task

FORMATS = ("records", "videoespresso", "datasets")
FPS = 12
"""Frames per second of the clips."""


def with_items(question):
    """Add the things that the clip's record shows in the middle of each span, and an item without box."""
    clip, record = media.open(question.visuals[0]), json.loads(Path(question.visuals[0]).with_suffix(".json").read_bytes())
    items = []
    for span in question.truth.spans:
        shown = min(record["frames"], key=lambda frame: abs(frame["time"] - (span.start + span.end) / 2))
        index = int(np.abs(clip.times - shown["time"]).argmin())
        frame = Frame(index=index, time=float(clip.times[index]))
        items += [KeyItem(label=name, frame=frame, box=box, score=0.9) for name, box in shown["boxes"].items()]
        items.append(KeyItem(label="a lost thing", frame=frame))
    return question.model_copy(update={"truth": question.truth.model_copy(update={"key_items": tuple(items)})})


def without_items(question):
    return question.model_copy(update={"truth": question.truth.model_copy(update={"key_items": ()})})


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    return [with_items(question) for question in world.make("test", 24, tmp_path_factory.mktemp("world"), workers=1)]


@pytest.fixture(scope="module")
def shares(questions, tmp_path_factory):
    """Test shares that put some of the last nine clips in both splits.

    Which clips a share puts where depends on the bytes that this machine's encoder writes.
    """
    folder = tmp_path_factory.mktemp("shares")
    records.write(folder / "last.jsonl", questions[6:])

    def has_both(share):
        try:
            return bool(export(folder / "last.jsonl", folder / "out", test_share=share))
        except DataError:
            return False

    return [share for share in np.linspace(0, 1, 41)[1:-1] if has_both(share)]


@pytest.fixture
def share(shares):
    return shares[0]


@pytest.fixture
def data(questions, tmp_path):
    """24 questions about 12 clips, and two rejected pairs."""
    path = tmp_path / "data.jsonl"
    records.write(path, questions)
    pairs = [
        RejectedPair(
            id=f"rejected-{node}",
            visuals=questions[0].visuals,
            task=Task.THEME,
            text="Nice?",
            answer="yes",
            node=node,
            reason="so",
        )
        for node in ("filter", "guess")
    ]
    rejected_file(path).write_text("".join(pair.model_dump_json() + "\n" for pair in pairs))
    return path


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a folder with Hugging Face `datasets`, offline."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return lambda folder, *name: datasets.load_dataset(str(folder), *name, cache_dir=str(tmp_path / "cache"))


def written(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def split_ids(data, out, share):
    """Return the ids in each split of an export."""
    splits = export(data, out, test_share=share).splits
    return {name: {question.id for question in records.read(out / f"{name}.jsonl")} for name in splits}


# Splits


def test_without_a_test_share_all_questions_are_in_one_split(data, questions, tmp_path):
    summary = export(data, tmp_path / "out")
    assert {name: (each.questions, each.videos) for name, each in summary.splits.items()} == {"train": (24, 12)}
    assert records.read(tmp_path / "out/train.jsonl") == questions
    assert not (tmp_path / "out/test.jsonl").exists()


@pytest.mark.parametrize("format", FORMATS)
def test_splits_share_no_video_and_hold_all_questions(data, tmp_path, format, share):
    summary = export(data, tmp_path / "out", format=format, test_share=share)
    assert sum(each.questions for each in summary.splits.values()) == 24
    assert sum(each.videos for each in summary.splits.values()) == 12
    assert all(each.videos for each in summary.splits.values())
    assert {*summary.files} <= written(tmp_path / "out").keys()


def test_equal_files_under_two_names_are_in_one_split(questions, tmp_path, shares):
    copies = []
    for question in questions:
        copy = tmp_path / f"copies/{Path(question.visuals[0]).stem}-again.mp4"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(question.visuals[0], copy)
        copies.append(question.model_copy(update={"id": f"copy-{question.id}", "visuals": (str(copy),)}))
    records.write(tmp_path / "both.jsonl", [*questions, *copies])
    for share in (shares[0], shares[len(shares) // 2], shares[-1]):
        splits = split_ids(tmp_path / "both.jsonl", tmp_path / "out", share)
        for own in splits.values():
            assert {name.removeprefix("copy-") for name in own} == {name for name in own if not name.startswith("copy-")}
    summary = export(tmp_path / "both.jsonl", tmp_path / "copied", format="datasets")
    assert summary.copied_videos == summary.splits["train"].videos == 12


def test_the_split_of_a_video_does_not_depend_on_the_others_or_on_its_name(data, questions, tmp_path, shares):
    before = split_ids(data, tmp_path / "all", shares[0])
    moved = []
    for question in questions[6:]:
        path = tmp_path / f"moved-{Path(question.visuals[0]).name}"
        shutil.copy(question.visuals[0], path)
        moved.append(question.model_copy(update={"visuals": (str(path),)}))
    records.write(tmp_path / "some.jsonl", moved[::-1])
    after = split_ids(tmp_path / "some.jsonl", tmp_path / "some", shares[0])
    assert after["test"] == before["test"] & {each.id for each in moved}
    larger = split_ids(data, tmp_path / "larger", shares[-1])
    assert before["test"] < larger["test"]


# Formats


def test_records_are_read_back_unchanged(data, questions, tmp_path, share):
    export(data, tmp_path / "out", test_share=share)
    loaded = [
        question
        for name in ("train", "test")
        for question in get_dataset("records").load("test", None, DatasetFiles(tmp_path / f"out/{name}.jsonl")).questions
    ]
    assert sorted(loaded, key=lambda each: each.id) == sorted(questions, key=lambda each: each.id)


def test_videoespresso_questions_are_read_back_with_options_and_core_frames(questions, tmp_path, share):
    questions = [without_items(each) for each in questions]
    records.write(tmp_path / "data.jsonl", questions)
    export(tmp_path / "data.jsonl", tmp_path / "out", format="videoespresso", test_share=share)
    originals = {(Path(each.visuals[0]).name, each.text): each for each in questions}
    for name in ("train", "test"):
        loaded = get_dataset("videoespresso").load(name, None, DatasetFiles(tmp_path / f"out/{name}.json"))
        assert (loaded.bad, loaded.missing) == ((), ())
        for question in loaded.questions:
            original = originals.pop((Path(question.visuals[0]).name, question.text))
            assert (question.task, question.answer) == (original.task, original.answer)
            assert question.options == (original.options if name == "test" else None)
            assert question.truth.evidence == original.truth.evidence
            middles = [[(span.start + span.end) / 2 for span in each.truth.spans] for each in (question, original)]
            assert middles[0] == pytest.approx(middles[1], abs=1 / FPS)
        (note,) = loaded.notes
        assert re.fullmatch(r"clips: \d+ frame names read as frame indices of the clip", note)
    assert not originals


@pytest.mark.parametrize("name", ["train", "test"])
def test_videoespresso_examples_have_the_core_frames_and_the_boxes(data, questions, tmp_path, name, share):
    export(data, tmp_path / "out", format="videoespresso", test_share=share)
    loaded = get_dataset("videoespresso").examples(DatasetFiles(tmp_path / f"out/{name}.json"))
    originals = {(Path(each.visuals[0]).name, each.text): each for each in questions}
    assert not loaded.bad
    for example in loaded.examples:
        items = originals[Path(example.frames[0].source).name, example.question].truth.key_items
        assert [frame.time for frame in example.frames] == pytest.approx(sorted({item.frame.time for item in items}))
        wanted = sorted(grounded(item.label, item.box, 224, 224) for item in items if item.box)
        found = re.findall(r"(\w+ \w+) (\[[\d, ]+\])", example.evidence)
        assert sorted(f"{label} {box}" for label, box in found) == wanted
        assert "a lost thing" in example.evidence
    assert loaded.notes[1].endswith("boxes read as x1, y1, x2, y2 in pixels")


def test_an_item_is_marked_where_it_is_first_mentioned(questions, tmp_path):
    frame = Frame(index=3, time=0.25)
    items = [
        ("dog", (1, 2, 30.5, 40)),
        ("hot dog", (5, 6, 7.126, 80)),
        ("man", None),
        ("cat", (1, 1, 9, 9)),
        ("<obj_start>it", None),
    ]
    truth = questions[0].truth.model_copy(
        update={
            "evidence": "The Hot dog, not a dogma: the dog sees a dog and the man <box_start>[0, 0]<box_end>.",
            "key_items": tuple(KeyItem(label=label, frame=frame, box=box) for label, box in items),
        }
    )
    records.write(tmp_path / "data.jsonl", [questions[0].model_copy(update={"truth": truth})])
    export(tmp_path / "data.jsonl", tmp_path / "out", format="videoespresso")
    (row,) = json.loads((tmp_path / "out/train.json").read_text())
    assert row["evidence"] == (
        "The <obj_start>Hot dog<obj_end><box_start>[5, 6, 7.13, 80]<box_end>, not a dogma: the <obj_start>dog<obj_end>"
        "<box_start>[1, 2, 30.5, 40]<box_end> sees a dog and the <obj_start>man<obj_end> . Key items: <obj_start>cat<obj_end>"
        "<box_start>[1, 1, 9, 9]<box_end>, <obj_start>it<obj_end>."
    )


def test_open_questions_are_open_in_videoespresso_test_files(questions, tmp_path, share):
    records.write(tmp_path / "data.jsonl", [each.model_copy(update={"options": None}) for each in questions])
    export(tmp_path / "data.jsonl", tmp_path / "out", format="videoespresso", test_share=share)
    loaded = get_dataset("videoespresso").load("test", None, DatasetFiles(tmp_path / "out/test.json"))
    assert {each.options for each in loaded.questions} == {None}
    assert not loaded.bad


def test_datasets_loads_both_splits_offline(data, questions, load, tmp_path, share):
    export(data, tmp_path / "out", format="datasets", test_share=share)
    loaded = load(tmp_path / "out")
    assert set(loaded) == {"train", "test"}
    rows = {row["id"]: row for split in loaded.values() for row in split}
    assert len(rows) == 24
    for question in questions:
        row, items = rows[question.id], question.truth.key_items
        assert (row["question"], tuple(row["options"]), row["answer"]) == (question.text, question.options, question.answer)
        assert row["options"][row["answer_index"]] == question.answer
        assert row["task"] == question.task
        assert row["evidence"] == question.truth.evidence
        assert [None if box is None else tuple(box) for box in row["key_item_boxes"]] == [item.box for item in items]
        assert row["key_item_labels"] == [item.label for item in items]
        assert row["core_frame_times"] == pytest.approx(sorted({item.frame.time for item in items}))
        assert set(row["core_frame_indices"]) == set(row["key_item_frame_indices"])
        assert list(zip(row["core_frame_starts"], row["core_frame_ends"], strict=True)) == [
            (span.start, span.end) for span in question.truth.spans
        ]
        clip = media.open(tmp_path / "out" / row["video"])
        assert clip.digest == row["video_digest"]
        assert (row["video_width"], row["video_fps"]) == (clip.width, clip.visual.fps)


def test_a_split_without_any_options_or_boxes_has_the_same_columns(questions, load, tmp_path, share):
    changed = [without_items(each).model_copy(update={"options": None, "task": None}) for each in questions]
    records.write(tmp_path / "data.jsonl", changed)
    export(tmp_path / "data.jsonl", tmp_path / "out", format="datasets", test_share=share)
    loaded = load(tmp_path / "out")
    assert loaded["train"].features == loaded["test"].features
    assert loaded["train"][0]["options"] is None


def test_videos_of_one_name_do_not_replace_each_other(questions, tmp_path):
    moved = []
    for number, source in enumerate(dict.fromkeys(each.visuals[0] for each in questions[:6])):
        path = tmp_path / f"part{number}/cooking/{('clip', 'Clip', 'a?b')[number % 3]}.mp4"
        path.parent.mkdir(parents=True)
        shutil.copy(source, path)
        moved += [each.model_copy(update={"visuals": (str(path),)}) for each in questions[:6] if each.visuals[0] == source]
    records.write(tmp_path / "data.jsonl", moved)
    export(tmp_path / "data.jsonl", tmp_path / "out", format="videoespresso")
    loaded = get_dataset("videoespresso").load("train", None, DatasetFiles(tmp_path / "out/train.json"))
    digests = [media.open(each.visuals[0]).digest for each in loaded.questions]
    assert digests == [media.open(each.visuals[0]).digest for each in moved]
    names = {Path(each.visuals[0]).name.lower() for each in loaded.questions}
    assert len(names) == len(set(digests))
    assert not any("?" in name for name in names)


# The card


@pytest.mark.parametrize("format", FORMATS)
def test_the_card_is_valid_and_counts_questions_by_task_and_split(data, questions, load, tmp_path, format, share):
    from huggingface_hub import DatasetCard

    summary = export(data, tmp_path / "out", format=format, test_share=share)
    card = DatasetCard.load(tmp_path / "out/README.md")
    assert card.data.size_categories == ["n<1K"]
    assert card.data.pretty_name == "out"
    for task in {question.task for question in questions}:
        train, test = re.search(rf"^\| {task} \| (\d+) \| (\d+) \|$", card.text, re.MULTILINE).groups()
        assert int(train) + int(test) == sum(question.task == task for question in questions)
    assert f"| test | {summary.splits['test'].questions} | {summary.splits['test'].videos} |" in card.text
    assert "| rejected by `filter` | 1 | 3.8 % |" in card.text
    assert "| kept | 24 | 92.3 % |" in card.text
    assert "The models and prompts are not known" in card.text
    assert "{" not in card.text
    splits = (
        [load(tmp_path / "out", "train"), load(tmp_path / "out", "test")]
        if format == "videoespresso"
        else [load(tmp_path / "out")]
    )
    columns = {name for each in splits for split in each.values() for name in split.column_names}
    described = {name.split(".")[0] for name in re.findall(r"^\| `([\w.]+)`(?: \(\w+\))? \|", card.text, re.MULTILINE)}
    assert described == columns


def test_the_card_names_models_and_prompts_of_the_construction(clips, profile, tmp_path):
    annotate(clips, tmp_path / "data.jsonl", profile=profile)
    summary = export(tmp_path / "data.jsonl", tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    assert summary.splits["train"].questions == 3
    assert "| writer | writer |" in card
    assert re.search(r"^\| annotate/write \| `\w+` \|$", card, re.MULTILINE)
    assert "`uniform-6`" in card
    assert "up to 3\nquestions about" in card
    assert "6 key items that were looked for in core frames, 6 have a box (100.0 %)" in card
    assert "127.0.0.1" not in card


def test_many_questions_have_their_word_bias_in_the_card(questions, tmp_path):
    many = [questions[n % 24].model_copy(update={"id": f"{n}"}) for n in range(120)]
    records.write(tmp_path / "data.jsonl", many)
    export(tmp_path / "data.jsonl", tmp_path / "out")
    assert re.search(r"answers [\d.]+ % of the 120 questions with options", (tmp_path / "out/README.md").read_text())


# Decisions


def test_dropped_questions_are_left_out_and_rejected_pairs_stay_out(data, questions, tmp_path):
    decisions = {
        questions[0].id: "drop",
        questions[1].id: "keep",
        "rejected-filter": "keep",
        "rejected-guess": "drop",
        "x": "drop",
    }
    data.with_suffix(".decisions.json").write_text(json.dumps(decisions))
    summary = export(data, tmp_path / "out")
    assert (summary.dropped, summary.ignored, summary.unknown) == (1, 1, 1)
    assert records.read(tmp_path / "out/train.jsonl") == questions[1:]
    assert "| dropped by a reviewer | 1 | 3.8 % |" in (tmp_path / "out/README.md").read_text()


def test_decisions_of_another_file_come_first(data, questions, tmp_path):
    data.with_suffix(".decisions.json").write_text(json.dumps({questions[0].id: "drop"}))
    (tmp_path / "other.json").write_text(json.dumps({questions[1].id: "drop"}))
    export(data, tmp_path / "out", decisions=tmp_path / "other.json")
    assert records.read(tmp_path / "out/train.jsonl") == [questions[0], *questions[2:]]
    with pytest.raises(DataError, match=r"missing\.json: cannot read the decisions"):
        export(data, tmp_path / "out", decisions=tmp_path / "missing.json")


def test_nothing_is_exported_if_all_is_dropped(data, questions, tmp_path):
    data.with_suffix(".decisions.json").write_text(json.dumps({each.id: "drop" for each in questions}))
    with pytest.raises(DataError, match="all 24 questions are dropped"):
        export(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# The folder


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_export_gives_the_same_files(data, tmp_path, format, share):
    export(data, tmp_path / "out", format=format, test_share=share)
    first = written(tmp_path / "out")
    export(data, tmp_path / "out", format=format, test_share=share)
    assert written(tmp_path / "out") == first


def test_a_folder_that_no_export_wrote_is_refused(data, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(DataError, match="exists and was not written by an export"):
        export(data, tmp_path / "out")
    assert written(tmp_path / "out") == {"notes.txt": b"mine"}
    with pytest.raises(DataError, match="exists and was not written by an export"):
        export(data, tmp_path / "out/notes.txt")


def test_another_export_replaces_the_first_one_and_nothing_else(data, tmp_path, share):
    export(data, tmp_path / "out", format="datasets", test_share=share)
    (tmp_path / "out/videos/clips/mine.txt").write_text("mine")
    summary = export(data, tmp_path / "out", format="records")
    assert set(written(tmp_path / "out")) == {*summary.files, "videos/clips/mine.txt"}
    assert not (tmp_path / "out/data").exists()


def test_an_interrupted_export_is_repeated(data, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copy2", full)
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
            export(data, tmp_path / "out", format="datasets")
    export(data, tmp_path / "out", format="datasets")
    export(data, tmp_path / "whole", format="datasets")
    texts = {name: content for name, content in written(tmp_path / "out").items() if name != "README.md"}
    assert texts == {name: content for name, content in written(tmp_path / "whole").items() if name != "README.md"}


def test_a_different_video_is_never_overwritten(data, tmp_path):
    export(data, tmp_path / "out", format="datasets")
    video = next((tmp_path / "out/videos/clips").glob("*.mp4"))
    video.write_bytes(b"mine")
    with pytest.raises(DataError, match="is another file than"):
        export(data, tmp_path / "out", format="datasets")
    assert video.read_bytes() == b"mine"


def test_the_folder_cannot_contain_what_is_read(data, tmp_path):
    export(data, tmp_path / "out", format="videoespresso")
    before = written(tmp_path / "out")
    shutil.copy(data, tmp_path / "out/data.jsonl")
    with pytest.raises(DataError, match=r"contains .*data\.jsonl, which is read"):
        export(tmp_path / "out/data.jsonl", tmp_path / "out")
    assert {**before, "data.jsonl": data.read_bytes()} == written(tmp_path / "out")


def test_a_manifest_that_lists_other_files_removes_none(data, tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out").mkdir()
    for content in ('{"files": ["../precious"]}', '{"a": 1}'):
        (tmp_path / "out/export.json").write_text(content)
        with pytest.raises(DataError, match="Give another --out"):
            export(data, tmp_path / "out")
    assert (tmp_path / "precious").read_text() == "mine"


# Errors


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"visuals": ("a.mp4", "b.mp4")}, "has no single video"),
        ({"answer": None}, "has no answer"),
        ({"truth": None}, "has no ground truth"),
        ({"task": "Counting"}, "has none of VideoEspresso's tasks"),
    ],
)
def test_a_question_that_cannot_be_exported_is_named(questions, tmp_path, change, sentence):
    records.write(tmp_path / "data.jsonl", [questions[0].model_copy(update=change)])
    with pytest.raises(DataError, match=rf"data\.jsonl: question {questions[0].id} {sentence}"):
        export(tmp_path / "data.jsonl", tmp_path / "out", format="videoespresso")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_an_impossible_share_is_refused(data, tmp_path, share):
    with pytest.raises(DataError, match="is not a share of the videos"):
        export(data, tmp_path / "out", test_share=share)


def test_a_share_that_leaves_a_split_empty_is_refused(data, questions, tmp_path):
    with pytest.raises(DataError, match="the split test is empty: chance puts none of the 12 videos in it"):
        export(data, tmp_path / "out", test_share=1e-6)
    with pytest.raises(DataError, match="the split train is empty"):
        export(data, tmp_path / "out", test_share=1 - 1e-6)


def test_missing_data_or_videos_are_named(data, questions, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    for name, fault in (("missing", "cannot be read"), ("empty", "no question and no rejected pair")):
        with pytest.raises(DataError, match=rf"{name}\.jsonl: {fault}"):
            export(tmp_path / f"{name}.jsonl", tmp_path / "out")
    gone = Question.model_validate(questions[0].model_dump() | {"visuals": (str(tmp_path / "gone.mp4"),)})
    records.write(tmp_path / "gone.jsonl", [gone])
    with pytest.raises(MediaError, match=r"gone\.mp4: no such file"):
        export(tmp_path / "gone.jsonl", tmp_path / "out")


def test_parts_of_videos_are_refused(questions, tmp_path):
    parts = [question.model_copy(update={"visuals": (f"{question.visuals[0]}#t=0,1",)}) for question in questions[:2]]
    records.write(tmp_path / "data.jsonl", parts)
    with pytest.raises(DataError, match=r"\.mp4#t=0,1: is a part of a video, which cannot be copied"):
        export(tmp_path / "data.jsonl", tmp_path / "out", test_share=0)
