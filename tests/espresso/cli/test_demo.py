"""`espresso demo`, with the real models: a clip, three questions, a report, and nobody's files overwritten."""

import html
import json

from espresso.schema import Answer


def test_the_demo_answers_three_questions_and_leaves_clip_and_report(espresso, tmp_path):
    done = espresso("demo", "--seed", "7", "--json")
    assert done.exit_code == 0, done.stderr
    answers = [Answer.model_validate(answer) for answer in json.loads(done.stdout)]
    assert len({answer.question.text for answer in answers}) == 3
    assert all(answer.core_frames and answer.evidence.text and answer.options_probability for answer in answers)
    captioned = [step for answer in answers for step in answer.trace if step.node == "caption"]
    assert [step.frames - step.cached for step in captioned][1:] == [0, 0]
    assert (tmp_path / "espresso-demo" / "clip.mp4").stat().st_size > 1000
    page = html.unescape((tmp_path / "espresso-demo" / "espresso-demo.html").read_text())
    assert all(answer.question.text in page for answer in answers)


def test_a_second_demo_takes_a_new_folder_and_says_whether_it_was_right(espresso, tmp_path):
    (tmp_path / "espresso-demo").mkdir()
    (tmp_path / "espresso-demo" / "clip.mp4").write_text("mine")
    done = espresso("demo", "--seed", "7")
    assert done.exit_code == 0, done.stderr
    assert "Captions" in done.stdout
    assert done.stdout.count("correct\n") + done.stdout.count("wrong, the correct answer is") == 3
    assert (tmp_path / "espresso-demo" / "clip.mp4").read_text() == "mine"
    assert (tmp_path / "espresso-demo-2" / "clip.mp4").exists()
