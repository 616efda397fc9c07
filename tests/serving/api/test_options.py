"""Options in the text of a question."""

import pytest

from serving.api.options import split_options


@pytest.mark.parametrize("form", ["{}. {}", "{}) {}", "({}) {}", " {}: {} "])
def test_lettered_lines_after_the_question_are_options(form):
    lines = [form.format(letter, text) for letter, text in zip("ABC", ("a lamp", "B", "it's (here)"), strict=True)]
    text = "\n".join(["Which one?", "Look closely.", *lines, "Answer with the option's letter from the given choices directly."])
    assert split_options(text) == ("Which one?\nLook closely.", ("a lamp", "B", "it's (here)"))


@pytest.mark.parametrize(
    "text",
    [
        "What happens?",
        "A. first\nB. second",  # no question
        "Which?\nA. only",
        "Which?\nB. second\nC. third",
        "Which?\nA. same\nB. same",
        "A man walks.\nB. is missing",
        "Plan A. or plan B. ?",
        "",
    ],
)
def test_other_texts_have_no_options(text):
    assert split_options(text) is None


def test_options_end_where_the_letters_do():
    assert split_options("Which?\nA. one\nB. two\nD. four").options == ("one", "two")
