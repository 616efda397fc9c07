"""`espresso eval run`: a table, a JSON document, and one sentence where it cannot be."""

import json
import re

import numpy as np
from PIL import Image

from espresso import media


def test_a_run_prints_accuracy_by_task_and_goes_on_when_called_again(espresso, profile):
    command = ("eval", "run", "world", "--limit", 2, "--strategy", "selector", "--profile", profile)
    done = espresso(*command)
    assert done.exit_code == 0, done.output
    for word in ("Causal Inference", "95 % interval", "core_recall", "visual_tokens", "samples.jsonl"):
        assert word in done.stdout
    assert "per minute" in done.stderr
    told = json.loads(espresso(*command, "--json").stdout)
    assert told["metrics"]["n"] == 2
    assert told["metrics"]["accuracy_low"] <= told["metrics"]["accuracy"] <= told["metrics"]["accuracy_high"]


def test_consistency_of_grouped_questions_is_printed(espresso, profile, tmp_path):
    rows = [
        {"identifier": f"dev-1-{pair}-{sentence}", "sentence": f"Statement {sentence}.", "label": str(pair == 0)}
        for sentence in range(3)
        for pair in range(2)
    ]
    (tmp_path / "dev.json").write_text("\n".join(map(json.dumps, rows)))
    for pair in range(2):
        for side in range(2):
            Image.new("RGB", (8, 8)).save(tmp_path / f"dev-1-{pair}-img{side}.png")
    command = ("eval", "run", "nlvr2", "--data", tmp_path / "dev.json", "--strategy", "blind", "--profile", profile)
    done = espresso(*command)
    assert done.exit_code == 0, done.output
    assert re.search(r"groups answered correctly\W+3\W", done.stdout)
    told = json.loads(espresso(*command, "--json").stdout)["metrics"]
    assert told["groups"] == 3
    assert told["consistency_low"] <= told["consistency"] <= told["consistency_high"]


def test_an_unknown_benchmark_is_exit_code_2_with_a_suggestion(espresso):
    done = espresso("eval", "run", "wrold")
    assert done.exit_code == 2
    assert "unknown dataset 'wrold'" in done.stderr
    assert "Did you mean world?" in done.stderr


def test_a_dead_server_is_exit_code_2(espresso, profile_of_a_dead_server):
    done = espresso("eval", "run", "world", "--limit", 1, "--strategy", "blind", "--profile", profile_of_a_dead_server)
    assert done.exit_code == 2
    assert "0 of 1 answers are kept" in done.stderr


def test_assumptions_about_a_dataset_are_printed(espresso, profile, tmp_path):
    media.write_video(tmp_path / "7.mp4", (np.full((32, 32, 3), 8 * number, np.uint8) for number in range(20)), 10)
    row = {
        "core_frames_paths": ["7/50.jpg"], "question": "Why?", "task": "Causal Inference", "correct_answer": "(A)",
        "video_path": "7.mp4", "options": ["(A): x", "(B): y"],
    }  # fmt: skip
    (tmp_path / "bench.json").write_text(json.dumps([row]))
    command = ("eval", "run", "videoespresso", "--data", tmp_path / "bench.json", "--strategy", "blind", "--profile", profile)
    done = espresso(*command)
    assert done.exit_code == 0, done.output
    assert "note: core frames are not known for 1 questions; the first: 7/50.jpg: the number lies past the end" in done.stdout
    assert len(json.loads(espresso(*command, "--json").stdout)["notes"]) == 2


def test_raiv_runs_without_files_and_reports_by_kind_family_and_statement(espresso, profile):
    command = ("eval", "run", "raiv", "--split", "val", "--limit", 6, "--strategy", "uniform", "--profile", profile)
    done = espresso(*command)
    assert done.exit_code == 0, done.output
    for word in ("Im-Im (T)", "Im-Vid (T)", "Vid-Vid (T)", "groups answered correctly"):
        assert word in done.stdout
    told = json.loads(espresso(*command, "--json").stdout)
    assert (told["metrics"]["n"], told["metrics"]["groups"], told["metrics"]["errors"]) == (6, 3, 0)
    assert {row["task"]: row["n"] for row in told["tasks"][:3]} == {"Im-Im (T)": 2, "Im-Vid (T)": 2, "Vid-Vid (T)": 2}
    assert sum(row["n"] for row in told["tasks"][3:]) == 6  # families
    report = espresso("eval", "report", told["folder"])
    assert "Im-Vid (T) (2)" in report.stdout
    assert "consistency (3 groups)" in report.stdout


def test_a_file_of_pairs_and_the_reasons_run_too(espresso, profile, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    assert espresso("raiv", "build", "--count", 60, "--out", pairs).exit_code == 0
    for name in ("raiv", "raiv-reasons"):
        done = espresso("eval", "run", name, "--data", pairs, "--strategy", "blind", "--profile", profile, "--json")
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert told["tasks"][0]["task"] == "Im-Im (T)"
        assert name != "raiv" or told["metrics"]["n"] == 12


def test_smart101_runs_without_files_and_reports_each_skill_and_the_weighted_accuracy(espresso, profile):
    command = ("eval", "run", "smart101", "--limit", 31, "--strategy", "uniform", "--profile", profile)
    done = espresso(*command)
    assert done.exit_code == 0, done.output
    for word in ("counting", "math", "logic", "path", "algebra", "measure", "spatial", "pattern", "weighted by difficulty"):
        assert word in done.stdout
    told = json.loads(espresso(*command, "--json").stdout)
    assert (told["metrics"]["n"], told["metrics"]["errors"], told["bad"], told["missing"]) == (31, 0, [], [])
    assert sum(row["n"] for row in told["tasks"]) == 31
    metrics = told["metrics"]
    assert metrics["weighted_accuracy_low"] <= metrics["weighted_accuracy"] <= metrics["weighted_accuracy_high"]
    assert "weighted by difficulty" in espresso("eval", "report", told["folder"]).stdout
