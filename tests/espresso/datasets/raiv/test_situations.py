"""What several annotators agree on."""

import pytest

from espresso.datasets.raiv.situations import agreed, find_file, read_document
from espresso.errors import DataError


def test_a_role_has_the_noun_of_the_majority_and_other_nouns_are_unsure():
    roles, objects, unsure = agreed([{"agent": "man"}, {"agent": "man"}, {"agent": "boy"}])
    assert (roles, objects, unsure) == ({"agent": "man"}, ("man",), {"boy"})


def test_a_role_without_majority_has_no_value():
    assert agreed([{"agent": "man"}, {"agent": "boy"}, {"agent": "girl"}])[0] == {}


def test_an_empty_value_of_the_majority_is_no_value():
    roles, objects, unsure = agreed([{"place": ""}, {"place": ""}, {"place": "beach"}])
    assert (roles, objects, unsure) == ({}, (), {"beach"})


def test_an_object_that_two_of_three_name_in_different_roles_is_there():
    assert agreed([{"source": "rock"}, {"destination": "rock"}, {"source": "log"}])[1] == ("rock",)


def test_a_file_is_found_at_any_depth_but_must_be_the_only_one(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "train.json").write_text("{}")
    assert find_file(tmp_path, "train.json") == tmp_path / "a" / "b" / "train.json"
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(DataError, match=r"2 files have the name train\.json"):
        find_file(tmp_path, "train.json")
    with pytest.raises(DataError, match=r"no file dev\.json"):
        find_file(tmp_path, "dev.json")


def test_a_file_that_is_not_json_is_named(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match=r"broken\.json: cannot be read \(not JSON"):
        read_document(tmp_path / "broken.json")
