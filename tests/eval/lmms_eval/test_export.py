"""Exported folders, read the way lmms-eval reads them."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from agents.ask import ask
from agents.session import Session
from espresso import media, profiles, world
from espresso.datasets import DatasetFiles, records
from espresso.errors import DataError
from espresso.schema import Question
from eval.lmms_eval.export import DOCUMENTS, export, export_dataset, export_world

FRAMES = 4
ROTATED = Path(__file__).parents[4] / "shared" / "data" / "video" / "torchcodec_nasa_13013_rotated.mp4"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "world"
    world.make("test", 4, folder)
    export_world(folder, frames=FRAMES)
    return folder


def load_utils(folder):
    """Load `utils.py` from its file as lmms-eval does."""
    spec = importlib.util.spec_from_file_location("utils", folder / "utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def utils(made):
    return load_utils(made)


def read_documents(folder):
    return [json.loads(line) for line in (folder / DOCUMENTS).read_text().splitlines()]


@pytest.fixture
def documents(made):
    return read_documents(made)


def load_task(folder, name, utils):
    """Load the configuration of a task: resolve `!function` and follow `include` as lmms-eval does."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: getattr(utils, node.value.removeprefix("utils.")))
    settings = yaml.load((folder / f"{name}.yaml").read_text(), Loader)
    base = settings.pop("include", None)
    return (load_task(folder, base.removesuffix(".yaml"), utils) if base else {}) | settings


@pytest.mark.parametrize("name", ["espresso_world", "espresso_world_frames"])
def test_the_correct_reply_scores_1_and_another_0(made, utils, documents, name):
    settings = load_task(made, name, utils)
    assert settings["task"] == name
    assert (made / settings["dataset_kwargs"]["data_files"]["test"]).is_file()
    (metric,) = settings["metric_list"]
    for document in documents:
        target, others = settings["doc_to_target"](document), set(document["options"]) - {document["answer"]}
        assert settings["process_results"](document, [target]) == {metric["metric"]: 1.0}
        assert settings["process_results"](document, [others.pop()]) == {metric["metric"]: 0.0}
        assert settings["doc_to_visual"](document)
        assert document["question"] in settings["doc_to_text"](document)


def test_letters_are_read_as_models_write_them(utils):
    document = {"options": ["a lamp", "a star", "a box"], "answer": "a star"}
    assert utils.lettered(document | {"question": "What?"}).startswith("What?\nA. a lamp\nB. a star\nC. a box\n")
    for reply in ("B", "(B)", "B. a star", "The answer is B", "B: A lamp"):
        assert utils.score_letter(document, [reply]) == {"accuracy": 1.0}
    for reply in ("A", "A star", "a star", ""):
        assert utils.score_letter(document, [reply]) == {"accuracy": 0.0}


def test_frames_and_prompt_are_those_of_the_answer_graph(made, utils, documents, roles):
    session = Session(profiles.load("tiny").model_copy(update={"direct": True}), roles=roles)
    for document in documents:
        ask(made / document["clip"], document["question"], strategy="uniform", frames=FRAMES, session=session)
        (message,) = roles.reasoner.asked[-1]
        numbers = iter(range(1, FRAMES + 1))
        content = [part if isinstance(part, str) else f"<image {next(numbers)}>" for part in message.content]
        assert "".join(content) == utils.prompt(document)
        pixels = [part.pixels for part in message.content if not isinstance(part, str)]
        for ours, theirs in zip(pixels, utils.pictures(document), strict=True):
            assert np.abs(ours - np.asarray(theirs.resize(ours.shape[:2]), dtype=float)).mean() < 3


def test_the_answer_is_the_only_ground_truth_in_the_documents(made, documents):
    assert set(documents[0]) == {"id", "task", "clip", "question", "options", "answer", "frames", "prompt"}
    for question, document in zip(records.read(made / "questions.jsonl"), documents, strict=True):
        assert document["answer"] == question.answer
        assert sorted(document["options"]) == sorted(question.options)
        assert question.truth.evidence not in json.dumps(document)


def test_the_folder_can_be_moved(made, tmp_path):
    moved = shutil.copytree(made, tmp_path / "elsewhere")
    (document, *_) = read_documents(moved)
    assert load_utils(moved).clip(document) == [str(moved / document["clip"])]


def test_a_folder_without_a_world_is_refused(tmp_path):
    with pytest.raises(DataError, match="espresso world make"):
        export_world(tmp_path)


@pytest.fixture
def clips(tmp_path):
    """Two videos of 20 frames; frame n has the grey value 10 n in the first and 250 - 10 n in the second."""
    paths = [tmp_path / "up.mp4", tmp_path / "down.mp4"]
    for path, start, step in zip(paths, (0, 250), (10, -10), strict=True):
        media.write_video(path, (np.full((48, 64, 3), start + step * number, np.uint8) for number in range(20)), 10)
    return [str(path) for path in paths]


def test_questions_about_several_visuals_are_exported(clips, tmp_path):
    two = Question(id="two", visuals=clips, text="Which one gets brighter?", options=("first", "second"), answer="first")
    one = two.model_copy(update={"id": "one", "visuals": tuple(clips[:1])})
    opened = two.model_copy(update={"id": "open", "options": None})
    assert export([two, one, opened], tmp_path / "out", task="espresso_pairs", frames=3) == 2
    utils = load_utils(tmp_path / "out")
    settings = load_task(tmp_path / "out", "espresso_pairs_frames", utils)
    assert settings["task"] == "espresso_pairs_frames"
    documents = read_documents(tmp_path / "out")
    assert [utils.clip(document) for document in documents] == [clips, clips[:1]]
    greys = [[np.asarray(image).mean() for image in utils.pictures(document)] for document in documents]
    assert greys[0] == pytest.approx([50, 150, 150], abs=5)
    assert greys[1] == pytest.approx([30, 100, 160], abs=5)
    assert [utils.prompt(document).count("<image") for document in documents] == [3, 3]


def test_questions_about_parts_of_videos_are_records_only(clips, tmp_path):
    whole = Question(id="a", visuals=clips[:1], text="Which?", options=("first", "second"), answer="first")
    part = whole.model_copy(update={"id": "b", "visuals": (f"{clips[0]}#t=0,1",)})
    assert export([whole, part], tmp_path / "out", task="espresso_parts", frames=2) == 1
    assert [document["id"] for document in read_documents(tmp_path / "out")] == ["a"]
    assert [question.id for question in records.read(tmp_path / "out" / "questions.jsonl")] == ["a", "b"]


def test_exported_records_can_be_loaded_again(clips, tmp_path):
    (tmp_path / "val.csv").write_text(
        "video,question,answer,qid,type,a0,a1,a2,a3,a4\nup,why?,2,6,CW,a,b,c,d,e\ngone,why?,2,6,CW,a,b,c,d,e\n"
    )
    exported = export_dataset("nextqa", tmp_path / "out", files=DatasetFiles(tmp_path / "val.csv"), frames=2)
    assert (exported.questions, exported.documents, exported.missing) == (1, 1, ("gone",))
    (question,) = records.read(tmp_path / "out" / "questions.jsonl")
    assert (question.visuals, question.options, question.answer) == ((clips[0],), ("a", "b", "c", "d", "e"), "c")
    (document,) = read_documents(tmp_path / "out")
    assert document["clip"] == clips[0]
    assert (tmp_path / "out" / "espresso_nextqa.yaml").is_file()


def test_records_of_other_questions_are_not_overwritten(clips, tmp_path):
    question = Question(id="a", visuals=clips, text="Why?", answer="x")
    assert export([question], tmp_path, task="espresso_pairs") == 0
    assert export([question], tmp_path, task="espresso_pairs") == 0
    with pytest.raises(DataError, match="holds other questions"):
        export([question.model_copy(update={"id": "b"})], tmp_path, task="espresso_pairs")


def test_a_dataset_without_videos_is_refused(tmp_path):
    (tmp_path / "val.csv").write_text("video,question,answer,qid,type,a0,a1,a2,a3,a4\ngone,why?,2,6,CW,a,b,c,d,e\n")
    with pytest.raises(DataError, match="none of the 1 videos was found"):
        export_dataset("nextqa", tmp_path / "out", files=DatasetFiles(tmp_path / "val.csv"))
    assert not (tmp_path / "out").exists()


def test_a_split_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(DataError, match="no split 'tset'"):
        export_dataset("world", tmp_path, split="tset")


@pytest.mark.skipif(not ROTATED.is_file(), reason="the real clips are not next to the project")
def test_frames_of_a_rotated_video_are_upright(tmp_path):
    question = Question(id="a", visuals=(str(ROTATED),), text="Why?", options=("x", "y"), answer="x")
    export([question], tmp_path, task="espresso_rotated", frames=1)
    (document,) = read_documents(tmp_path)
    (image,) = load_utils(tmp_path).pictures(document)
    (upright,) = media.open(ROTATED).decode([document["frames"]][0])
    assert np.abs(np.asarray(image, dtype=float) - upright).mean() < 3
