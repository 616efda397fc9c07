"""The append-only log: headers, lines, and what is refused."""

import pytest

from espresso.errors import DataError
from espresso.log import JsonlLog, LogEntry, read_header, read_lines
from espresso.schema import Record


class Settings(Record):
    seed: int
    nested: dict[str, int] = {}  # noqa: RUF012 - pydantic copies it


class Line(LogEntry):
    ok: bool = True


def opened(path, settings=Settings(seed=0), ignored=()):  # noqa: B008 - frozen
    return JsonlLog(path, "work", settings, lines="lines.jsonl", entry=Line, done=lambda line: line.ok, ignored=ignored)


def test_entries_are_read_back_and_failed_ones_are_dropped(tmp_path):
    with opened(tmp_path) as log:
        log.append(Line(id="a"))
        log.append(Line(id="b", ok=False))
    assert [line.id for line in read_lines(tmp_path / "lines.jsonl", Line)] == ["a", "b"]
    with opened(tmp_path) as log:
        assert [line.id for line in log.entries] == ["a"]
    assert [line.id for line in read_lines(tmp_path / "lines.jsonl", Line)] == ["a"]


def test_a_setting_that_is_ignored_may_differ_and_the_first_one_stays(tmp_path):
    with opened(tmp_path, Settings(seed=0, nested={"words": 1})):
        pass
    with pytest.raises(DataError, match=r"nested\.words: 1 there, 2 requested"):
        opened(tmp_path, Settings(seed=0, nested={"words": 2}))
    with opened(tmp_path, Settings(seed=0, nested={"words": 2}), ignored=("nested.words",)):
        pass
    assert read_header(tmp_path / "work.json", Settings).configuration.nested == {"words": 1}


def test_a_header_of_something_else_is_named(tmp_path):
    (tmp_path / "work.json").write_text("[]")
    with pytest.raises(DataError, match=r"work\.json: cannot read the header"):
        opened(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_lines(tmp_path / "none.jsonl", Line)


def test_many_differences_are_cut_short(tmp_path):
    with opened(tmp_path, Settings(seed=0, nested={str(number): 0 for number in range(9)})):
        pass
    with pytest.raises(DataError, match="and 4 more"):
        opened(tmp_path, Settings(seed=0, nested={str(number): 1 for number in range(9)}))


def test_the_lock_is_released_if_opening_fails(tmp_path):
    with opened(tmp_path):
        pass
    with pytest.raises(DataError, match="seed: 0 there, 1 requested"):
        opened(tmp_path, Settings(seed=1))
    with opened(tmp_path) as log:
        assert log.entries == []


def test_an_id_counts_once_with_its_last_line(tmp_path):
    with opened(tmp_path) as log:
        for line in (Line(id="a", ok=False), Line(id="b"), Line(id="a"), Line(id="b"), Line(id="c")):
            log.append(line)
    file = tmp_path / "lines.jsonl"
    assert [(line.id, line.ok) for line in read_lines(file, Line)] == [("a", True), ("b", True), ("c", True)]
    with opened(tmp_path) as log:
        assert [line.id for line in log.entries] == ["a", "b", "c"]
    assert file.read_text().count("\n") == 3


def test_blank_lines_and_a_byte_order_mark_are_no_entries(tmp_path):
    with opened(tmp_path) as log:
        log.append(Line(id="a"))
        log.append(Line(id="b"))
    file = tmp_path / "lines.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n\n") + b"\n")
    assert [line.id for line in read_lines(file, Line)] == ["a", "b"]
    with opened(tmp_path) as log:
        assert [line.id for line in log.entries] == ["a", "b"]


def test_text_that_is_not_unicode_is_logged_and_resumed(tmp_path):
    settings = Settings(seed=0, nested={"caf\udce9.mp4": 1})
    with opened(tmp_path, settings) as log:
        log.append(Line(id="caf\udce9.mp4"))
    with opened(tmp_path, settings) as log:
        assert [line.id for line in log.entries] == ["caf\\udce9.mp4"]
