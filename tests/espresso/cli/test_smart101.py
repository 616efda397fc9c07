"""`espresso smart101`, run as a user runs it."""

import json


def test_puzzles_are_built_checked_and_run(espresso, profile, tmp_path):
    out = tmp_path / "puzzles"
    built = espresso("smart101", "build", "--out", out, "--count", 20)
    assert built.exit_code == 0, built.output
    assert "31 puzzles with 20 instances each" in built.stdout
    assert "drawing puzzles" in built.stderr
    checked = espresso("smart101", "check", out, "--split", "ps-test")
    assert checked.exit_code == 0, checked.output
    assert "counting" in checked.stdout
    assert "note: " not in checked.stdout
    run = espresso("eval", "run", "smart101", "--data", out, "--strategy", "blind", "--profile", profile, "--json")
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)
    assert told["metrics"]["n"] == 93
    assert len(told["tasks"]) == 9


def test_one_puzzle_is_built_with_a_seed(espresso, tmp_path):
    command = ("smart101", "build", "--out", tmp_path / "out", "--count", 3, "--puzzle", 7, "--seed", 4, "--json")
    assert json.loads(espresso(*command).stdout) == {"folder": str(tmp_path / "out"), "puzzles": [7], "count": 3, "seed": 4}
    assert len(list((tmp_path / "out" / "7" / "img").iterdir())) == 3


def test_what_is_wrong_with_a_folder_is_printed(espresso, tmp_path):
    out = tmp_path / "puzzles"
    espresso("smart101", "build", "--out", out, "--count", 40, "--puzzle", 2, "--puzzle", 7)
    (out / "2" / "img" / "puzzle_2_0036.png").unlink()
    (out / "7" / "puzzle_7.csv").rename(out / "7" / "puzzle_8.csv")
    with (out / "2" / "puzzle_2.csv").open("a") as file:
        file.write("41,How many?,x.png,1,2\n")
    done = espresso("smart101", "check", out)
    assert done.exit_code == 0, done.output
    for line in (
        "bad row: 2/puzzle_2.csv, row 41: it has 5 values",
        "missing image: 2/img/puzzle_2_0036.png",
        "note: 7/puzzle_8.csv is read as puzzle_7.csv",
    ):
        assert line in done.stdout
    told = json.loads(espresso("smart101", "check", out, "--json").stdout)
    assert (len(told["bad"]), len(told["missing"]), len(told["notes"])) == (1, 1, 1)


def test_an_unknown_split_or_folder_is_exit_code_2(espresso, tmp_path):
    done = espresso("smart101", "check", tmp_path, "--split", "ps")
    assert done.exit_code == 2
    assert "no split 'ps'. Choose one of test, val, train, ps-test" in done.stderr
    done = espresso("smart101", "check", tmp_path)
    assert done.exit_code == 2
    assert "Give the folder SMART101-Data" in done.stderr
