"""Work is shared by processes and resumed; results that cannot be written or do not come are one sentence."""

import json

import pytest

from espresso.errors import DataError
from finetune.lora import shared
from finetune.lora.shared import share


def upper(items):
    for key, item in items.items():
        yield key, item.upper()


def test_a_process_does_its_share_and_reads_those_of_the_others(tmp_path):
    items = {name: name * 2 for name in "abcd"}
    (tmp_path / "letters.1.jsonl").write_text('["b", "other"]\n["d", "other"]\n')
    assert share(items, upper, tmp_path, "letters", "letters", rank=0, processes=2) == {
        "a": "AA",
        "b": "other",
        "c": "CC",
        "d": "other",
    }
    assert [json.loads(line)[0] for line in (tmp_path / "letters.0.jsonl").read_text().splitlines()] == ["a", "c"]


@pytest.mark.parametrize("damage", [b'["b", "to', b"\0\0\0\n", b"[]\n", b"[1, 2]\n", b'{"b": 1}\n', b"\xff\xfe\n", b'"b"\n'])
def test_damaged_lines_are_done_again(tmp_path, damage):
    (tmp_path / "letters.0.jsonl").write_bytes(b'["a", "kept"]\n' + damage)
    for _ in range(2):
        assert share({"a": "a", "b": "b"}, upper, tmp_path, "letters", "letters") == {"a": "kept", "b": "B"}


def test_results_that_cannot_be_written_are_one_sentence(tmp_path):
    (tmp_path / "letters.0.jsonl").mkdir()
    with pytest.raises(DataError, match="cannot write letters"):
        share({"a": "a"}, upper, tmp_path, "letters", "letters")


def test_other_processes_that_add_nothing_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "STALL_S", 0.0)
    monkeypatch.setattr(shared, "POLL_S", 0.01)
    with pytest.raises(DataError, match=r"1 of 2 letters are missing.*same file system.*again to resume"):
        share({"a": "a", "b": "b"}, upper, tmp_path, "letters", "letters", processes=2)
