"""Provenance is stored with the adapter; adapters of other trainings are refused."""

import json

import pytest

from espresso.errors import DataError
from espresso.profiles.weights import weights_digest
from finetune.lora.stages import train_stage
from finetune.provenance import Provenance, read_provenance


def test_each_stage_stores_its_provenance(two_stages):
    config, evidence, answer = two_stages
    for provenance in (evidence, answer):
        assert read_provenance(config.output / provenance.stage) == provenance
        assert (provenance.rows, provenance.bad, provenance.steps, provenance.config) == (12, 0, 3, config)
        assert 0 < provenance.before["loss"] != provenance.after["loss"]
        assert provenance.merged == 1.0
    assert evidence.first_digest is None
    assert answer.first_digest == weights_digest(config.output / "evidence")
    assert evidence.data_digest != answer.data_digest


def test_a_folder_without_lineage_json_has_no_provenance(tmp_path):
    assert read_provenance(tmp_path) is None


def test_the_shipped_adapters_fit_each_other_and_the_shipped_base_model(base):
    evidence, answer = (read_provenance(base.parent / stage) for stage in ("evidence", "answer"))
    assert evidence.base_digest == answer.base_digest == weights_digest(base)
    assert answer.first_digest == weights_digest(base.parent / "evidence")
    assert evidence.merged == answer.merged == 1.0


def test_a_first_stage_of_another_base_model_is_refused(two_stages, make_config, tmp_path):
    other = two_stages[1].model_copy(update={"base_digest": "0" * 16, "base": "another"})
    (tmp_path / "evidence").mkdir()
    other.write(tmp_path / "evidence")
    with pytest.raises(DataError, match=r"another base model \(another, not .*Train the stage evidence again"):
        train_stage(make_config(tmp_path), "answer", steps=1)


def test_a_missing_first_stage_is_reported_with_the_command_to_train_it(make_config, tmp_path):
    with pytest.raises(DataError, match=r"no trained adapter found.*espresso finetune evidence"):
        train_stage(make_config(tmp_path), "answer", steps=1)


@pytest.mark.parametrize("content", [b"", b'{"stage": "evid', b"[]"])
def test_a_damaged_lineage_json_is_named(tmp_path, content):
    (tmp_path / "lineage.json").write_bytes(content)
    with pytest.raises(DataError, match=r"lineage.json: cannot be read as the provenance"):
        read_provenance(tmp_path)


def test_provenance_of_an_earlier_version_is_read(two_stages, tmp_path):
    fields = two_stages[1].model_dump(mode="json")
    del fields["unreadable"], fields["too_long"]
    (tmp_path / "lineage.json").write_text(json.dumps(fields))
    assert read_provenance(tmp_path) == two_stages[1]


def test_provenance_of_an_unknown_field_is_refused(two_stages):
    fields = two_stages[1].model_dump(mode="json")
    with pytest.raises(ValueError, match="author"):
        Provenance.model_validate(fields | {"author": "nobody"})
