"""`espresso eval run`: a table, a JSON document, and one sentence where it cannot be."""

import json


def test_a_run_prints_accuracy_by_task_and_goes_on_when_called_again(espresso, profile):
    command = ("eval", "run", "world", "--limit", 2, "--strategy", "selector", "--profile", profile)
    done = espresso(*command)
    assert done.exit_code == 0, done.output
    for word in ("Causal Inference", "95 % interval", "core_recall", "visual_tokens", "samples.jsonl"):
        assert word in done.stdout
    assert "a minute" in done.stderr
    told = json.loads(espresso(*command, "--json").stdout)
    assert told["metrics"]["n"] == 2
    assert told["metrics"]["accuracy_low"] <= told["metrics"]["accuracy"] <= told["metrics"]["accuracy_high"]


def test_an_unknown_benchmark_is_exit_code_2_with_a_suggestion(espresso):
    done = espresso("eval", "run", "wrold")
    assert done.exit_code == 2
    assert "no benchmark is called 'wrold'" in done.stderr
    assert "Did you mean world?" in done.stderr


def test_a_dead_server_is_exit_code_2(espresso, profile_of_a_dead_server):
    done = espresso("eval", "run", "world", "--limit", 1, "--strategy", "blind", "--profile", profile_of_a_dead_server)
    assert done.exit_code == 2
    assert "0 of 1 answers are kept" in done.stderr
