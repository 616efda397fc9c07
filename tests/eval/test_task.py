"""Tasks: made of plain values, so that a worker on another machine can make them."""

import pickle

import pytest

from espresso.datasets import get_dataset
from espresso.errors import ModelError
from espresso.models.embedder import make_embedder
from espresso.profiles import LocalEmbedder
from espresso.schema import Evidence
from eval.run import run
from eval.task import TaskSpec, load_models


def test_a_spec_survives_pickling_and_makes_the_same_task(session):
    spec = TaskSpec("world", "random", "written", frames=4, seed=7)
    task = pickle.loads(pickle.dumps(spec)).task(session)
    assert (task.strategy, task.protocol, task.seed) == ("random", "written", 7)
    assert task.solver.keywords == {"frames": 4, "seed": 7, "given_evidence": False, "written": True}


async def test_generated_puzzles_are_scored_by_their_facts(session, questions):
    question = get_dataset("smart101").load("test", 1, None).questions[0]
    answer = await TaskSpec("world", "blind").task(session).solver(questions[0], session)
    answer = answer.model_copy(update={"evidence": Evidence(text=question.truth.evidence)})
    facts = [(await TaskSpec(name, "uniform").task(session).scorer(question, answer)).facts for name in ("smart101", "records")]
    assert facts == [(True,) * question.truth.evidence.count(",") + (True,), ()]


async def test_only_the_world_is_scored_by_its_facts(session, questions):
    question = questions[0]
    answer = await TaskSpec("world", "oracle-evidence").task(session).solver(question, session)
    world = await TaskSpec("world", "oracle-evidence").task(session).scorer(question, answer)
    records = await TaskSpec("records", "oracle-evidence").task(session).scorer(question, answer)
    assert all(world.facts)
    assert world.facts
    assert records.facts == ()
    assert records.core_recall == world.core_recall == 1


@pytest.mark.parametrize(("strategy", "loaded"), [("blind", {"reasoner"}), ("selector", {"reasoner", "captioner", "selector"})])
def test_the_models_that_a_strategy_needs_are_loaded(session, roles, strategy, loaded):
    seen = set()

    class Watched:
        def __init__(self, name):
            self.name = name

        @property
        def context_length(self):
            seen.add(self.name)
            return 1000

    for name in ("captioner", "selector", "reasoner"):
        setattr(roles, name, Watched(name))
    load_models(session, TaskSpec("world", strategy))
    assert seen == loaded


def test_a_broken_embedder_stops_an_open_run_before_any_model_is_asked(roles, session, tmp_path):
    roles.embedder = make_embedder(LocalEmbedder(backend="transformers", model=str(tmp_path)))
    with pytest.raises(ModelError, match=r"cannot load this model .* Name another one in \[embedder\]"):
        run("world", limit=1, protocol="open", session=session, out=tmp_path / "run")
    assert not any(model.asked for model in (roles.captioner, roles.selector, roles.reasoner))
    assert not (tmp_path / "run").exists()


def test_other_protocols_do_not_load_the_embedder(roles, session, tmp_path):
    roles.embedder = make_embedder(LocalEmbedder(backend="transformers", model=str(tmp_path)))
    load_models(session, TaskSpec("world", "blind"))
