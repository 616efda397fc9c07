"""`espresso raiv`, run as a user runs it."""

import json
import re

import pytest

from tests.http_server import completion, http_server

HEAD = 'about = "test"\ndownload = "none"\nprompts = "general"\nsampling = "uniform-6"\nframe_size = 64\ncore_frames = 4\n'
ROLE = """
[{role}]
backend = "openai"
model = "{role}"
base_url = "{url}"
context_length = 32000
picture_tokens = 100
"""


@pytest.fixture
def built(espresso, tmp_path):
    out = tmp_path / "pairs.jsonl"
    return out, espresso("raiv", "build", "--source", "world", "--kind", "im-vid", "--count", 100, "--out", out)


def test_pairs_of_the_world_are_built_and_checked(built, espresso):
    out, made = built
    assert made.exit_code == 0, made.stderr
    assert "I-Tot" in made.stdout
    assert "true statements: train 50.0%, val 50.0%, test 50.0%" in made.stdout
    assert len(out.read_text().splitlines()) == 100
    checked = espresso("raiv", "check", out, "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.stdout)["instances"] == {"train": 70, "val": 10, "test": 20}


def test_a_broken_file_is_reported_with_exit_code_1(built, espresso):
    out, _ = built
    lines = out.read_text().splitlines()
    out.write_text("\n".join(lines[:-1]))
    checked = espresso("raiv", "check", out)
    assert checked.exit_code == 1
    assert "statements are not true as often as false" in checked.stderr


def test_an_existing_file_is_not_replaced(built, espresso):
    out, _ = built
    again = espresso("raiv", "build", "--out", out)
    assert again.exit_code == 2
    assert "Use another --out" in again.stderr


def test_what_is_bad_missing_and_common_is_printed(espresso, tmp_path):
    annotations, media = tmp_path / "annotations", tmp_path / "media"
    annotations.mkdir()
    media.mkdir()
    roles = {"agent": {}, "place": {}}
    things = {f"n{number}": {"gloss": [f"thing {chr(97 + number)}"]} for number in range(12)} | {"n99": {"gloss": ["person"]}}
    space = {"nouns": things, "verbs": {verb: {"roles": roles} for verb in ("jumping", "reading")}}
    (annotations / "imsitu_space.json").write_text(json.dumps(space))
    for name in ("train", "dev", "test"):
        rows = {}
        for number in range(120):
            frame = {"agent": "n99" if number % 2 else f"n{number * 7 % 12}", "place": f"n{number % 12}"}
            rows[f"{name}_{number}.jpg"] = {"verb": ("jumping", "reading")[number % 3 == 0], "frames": [frame] * 3}
            (media / f"{name}_{number}.jpg").touch()
        (annotations / f"{name}.json").write_text(json.dumps(rows))
    (media / "train_3.jpg").unlink()
    rows["extra.jpg"] = {"verb": "flying", "frames": []}
    (annotations / "test.json").write_text(json.dumps(rows))
    made = espresso("raiv", "build", "--source", "imsitu", "--annotations", annotations, "--media", media, "--count", 60,
                    "--out", tmp_path / "pairs.jsonl")  # fmt: skip
    assert made.exit_code == 0, made.stderr
    assert "bad annotation: test.json, extra.jpg: the field 'verb' is 'flying'" in made.stdout
    assert "missing: train_3.jpg" in made.stdout
    assert "person 50%" in made.stdout


def test_edited_images_need_their_folder(espresso, tmp_path):
    refused = espresso("raiv", "build", "--source", "ip2p", "--out", tmp_path / "pairs.jsonl")
    assert refused.exit_code == 2
    assert "Give --annotations FOLDER" in refused.stderr


def test_a_model_writes_statements(built, espresso, tmp_path):
    def answers(request):
        text = request["messages"][-1]["content"]
        words = re.search('annotated there as "(.*)", in', text)[1]
        annotation = re.search("Annotation of the image: (.*)", text)[1]
        return 200, completion(json.dumps({"statement": f"It shows {words}, with {annotation[:150]}."}))

    with http_server(answers=answers) as server:
        profile = tmp_path / "served.toml"
        roles = ("captioner", "selector", "reasoner", "writer")
        profile.write_text(HEAD + "".join(ROLE.format(role=role, url=server.url) for role in roles))
        command = ("raiv", "write", built[0], "--profile", profile, "--out", tmp_path / "g.jsonl")
        done = espresso(*command)
        assert done.exit_code == 0, done.output
        assert "statements of a model: " in done.stdout
        assert "true statements: train 50.0%, val 50.0%, test 50.0%" in done.stdout
        told = json.loads(espresso(*command, "--json").stdout)
    assert told["written"] == 2 * told["summary"]["statements"] > 60


def test_a_statement_of_a_model_that_was_edited_is_found(built, espresso, tmp_path):
    rows = [json.loads(line) for line in built[0].read_text().splitlines()]
    rows[0] |= {"writer": "vicuna", "topic": "dog", "statement": "There is no dog."}
    (tmp_path / "edited.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    checked = espresso("raiv", "check", tmp_path / "edited.jsonl")
    assert checked.exit_code == 1
    assert "the statement cannot be used; it contains 'no'" in checked.stderr
