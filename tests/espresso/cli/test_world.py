"""`espresso world`, run as a user runs it."""

import json


def test_a_world_is_made_and_exported(espresso, tmp_path):
    made = espresso("world", "make", "--split", "test", "--count", 2, "--out", tmp_path / "world", "--json")
    assert json.loads(made.stdout)["questions"] == 2
    exported = espresso("world", "export", tmp_path / "world", "--frames", 3, "--json")
    assert json.loads(exported.stdout) == {"folder": str(tmp_path / "world"), "questions": 2, "frames": 3}
    assert (tmp_path / "world" / "espresso_world.yaml").is_file()


def test_a_folder_of_something_else_is_not_exported(espresso, tmp_path):
    refused = espresso("world", "export", tmp_path)
    assert refused.exit_code == 2
    assert "espresso world make" in refused.stderr
