"""The world as a task folder of lmms-eval, read the way lmms-eval reads it."""

import importlib.util
import json
import shutil

import numpy as np
import pytest
import yaml

from agents.ask import ask
from espresso import profiles, world
from espresso.errors import DataError
from eval.lmms_eval.export import DOCUMENTS, export

FRAMES = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "world"
    world.make("test", 4, folder)
    export(folder, frames=FRAMES)
    return folder


@pytest.fixture
def utils(made):
    """`utils.py`, loaded from its file as lmms-eval does."""
    spec = importlib.util.spec_from_file_location("utils", made / "utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def documents(made):
    return [json.loads(line) for line in (made / DOCUMENTS).read_text().splitlines()]


def task(folder, name, utils):
    """A task's settings, `!function` resolved and `include` followed as by lmms-eval."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: getattr(utils, node.value.removeprefix("utils.")))
    settings = yaml.load((folder / f"{name}.yaml").read_text(), Loader)
    base = settings.pop("include", None)
    return (task(folder, base.removesuffix(".yaml"), utils) if base else {}) | settings


@pytest.mark.parametrize("name", ["espresso_world", "espresso_world_frames"])
def test_a_perfect_reply_is_right_and_another_is_not(made, utils, documents, name):
    settings = task(made, name, utils)
    assert settings["task"] == name
    assert (made / settings["dataset_kwargs"]["data_files"]["test"]).is_file()
    (metric,) = settings["metric_list"]
    for document in documents:
        target, others = settings["doc_to_target"](document), set(document["options"]) - {document["answer"]}
        assert settings["process_results"](document, [target]) == {metric["metric"]: 1.0}
        assert settings["process_results"](document, [others.pop()]) == {metric["metric"]: 0.0}
        assert settings["doc_to_visual"](document)
        assert document["question"] in settings["doc_to_text"](document)


def test_letters_are_read_in_the_ways_that_models_write_them(utils):
    document = {"options": ["a lamp", "a star", "a box"], "answer": "a star"}
    assert utils.lettered(document | {"question": "What?"}).startswith("What?\nA. a lamp\nB. a star\nC. a box\n")
    for reply in ("B", "(B)", "B. a star", "The answer is B", "B: A lamp"):
        assert utils.score_letter(document, [reply]) == {"accuracy": 1.0}
    for reply in ("A", "A star", "a star", ""):
        assert utils.score_letter(document, [reply]) == {"accuracy": 0.0}


def test_the_frames_and_words_are_those_that_the_graph_sends(made, utils, documents, roles):
    profile = profiles.load("tiny").model_copy(update={"direct": True})
    for document in documents:
        ask(made / document["clip"], document["question"], strategy="uniform", frames=FRAMES, profile=profile, roles=roles)
        (message,) = roles.reasoner.asked[-1]
        numbers = iter(range(1, FRAMES + 1))
        said = [part if isinstance(part, str) else f"<image {next(numbers)}>" for part in message.content]
        assert "".join(said) == utils.prompt(document)
        shown = [part.pixels for part in message.content if not isinstance(part, str)]
        for ours, theirs in zip(shown, utils.pictures(document), strict=True):
            assert np.abs(ours - np.asarray(theirs.resize(ours.shape[:2]), dtype=float)).mean() < 3


def test_of_the_truth_only_the_answer_goes_out(made, documents):
    assert set(documents[0]) == {"id", "task", "clip", "question", "options", "answer", "frames", "prompt"}
    for question, document in zip(world.load(made), documents, strict=True):
        assert document["answer"] == question.answer
        assert sorted(document["options"]) == sorted(question.options)
        assert question.truth.evidence not in json.dumps(document)


def test_the_folder_can_be_moved(made, tmp_path):
    moved = shutil.copytree(made, tmp_path / "elsewhere")
    spec = importlib.util.spec_from_file_location("utils", moved / "utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    document = json.loads((moved / DOCUMENTS).read_text().splitlines()[0])
    assert module.clip(document) == [str(moved / document["clip"])]


def test_a_folder_without_a_world_is_refused(tmp_path):
    with pytest.raises(DataError, match="espresso world make"):
        export(tmp_path)
