"""Files of questions as people have them: encodings, separators, compression, torn and broken rows."""

import csv
import gzip
import io
import json

import pytest

from espresso.datasets.rows import BadRow, read_rows
from espresso.errors import DataError

ROWS = [{"id": "1", "text": "Où?"}, {"id": "2", "text": "A, b; c"}, {"id": "3", "text": 'So "far"'}]


def table(rows=ROWS, **options):
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0], **options)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def lines(rows=ROWS, between="\n"):
    return between.join(json.dumps(row, ensure_ascii=False) for row in rows) + between


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    bad = []
    return [(where, dict(row)) for where, row in read_rows(path, bad)], bad


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", table()),
        ("a.csv", table(lineterminator="\n")),
        ("a.csv", table(lineterminator="\r")),
        ("a.csv", "\ufeff" + table()),
        ("a.csv", table().encode("utf-16")),
        ("a.csv", table(delimiter=";")),
        ("a.csv", table(delimiter="\t")),
        ("a.csv", table().replace("\r\n", "\n\n") + ",\n"),
        ("a.csv", table(quoting=csv.QUOTE_ALL).replace(",", ", ", 1)),
        ("a.CSV", table()),
        ("a.tsv", table(delimiter="\t")),
        ("a.csv.gz", gzip.compress(table().encode(), mtime=0)),
        ("a.tsv.gz", gzip.compress(table(delimiter="\t").encode(), mtime=0)),
        ("a.csv", gzip.compress(table().encode(), mtime=0)),
        ("a.jsonl", lines()),
        ("a.jsonl", "\ufeff" + lines()),
        ("a.jsonl", lines(between="\n\n \n")),
        ("a.jsonl", lines(between="\r\n")),
        ("a.ndjson", lines().rstrip()),
        ("a.jsonl.gz", gzip.compress(lines().encode(), mtime=0)),
        ("a.json", lines()),
        ("a.json", json.dumps(ROWS)),
        ("a.json", "\ufeff" + json.dumps(ROWS, indent=1)),
        ("a.json.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0)),
        ("a.json", json.dumps({"data": ROWS})),
        ("a.json", json.dumps({"info": {"version": 1}, "licence": [], "questions": ROWS})),
        ("a.json", json.dumps({"version": 1, "data": {row["id"]: row for row in ROWS}})),
        ("a.json", json.dumps({row["id"]: row for row in ROWS})),
    ],
)
def test_the_same_rows_are_read_with_the_same_numbers(tmp_path, name, content):
    rows, bad = read(tmp_path / name, content)
    assert not bad
    assert rows == [(f"{name}, row {number}", row) for number, row in enumerate(ROWS, 1)]


def test_parquet_files_are_numbered_alike(tmp_path):
    import pyarrow
    from pyarrow.parquet import write_table

    write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert list(read_rows(tmp_path / "a.parquet", [])) == [(f"a.parquet, row {i}", row) for i, row in enumerate(ROWS, 1)]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_only_line_feeds_end_a_line(tmp_path, name, character):
    row = {"id": "1", "text": f"one{character}two"}
    raw = lines([row]) if name == "a.jsonl" else json.dumps([row], ensure_ascii=False) if name == "a.json" else table([row])
    raw = raw.replace(character, json.dumps(character)[1:-1]) if character < " " and name != "a.csv" else raw
    assert read(tmp_path / name, raw) == ([(f"{name}, row 1", row)], [])


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jsonl", lines()[:-9], "not JSON (Unterminated string"),
        ("a.jsonl", lines().encode()[:-30], "not JSON ("),
        ("a.jsonl", lines(ROWS[:2]) + '{"id": "3", "id": "4"}\n', "the field 'id' is there twice"),
        ("a.jsonl", lines(ROWS[:2]) + "[" * 100_000 + "\n", "not JSON (it is nested too deeply)"),
        ("a.jsonl", lines(ROWS[:2]) + '{"id": "\\ud83d"}\n', "the field 'id' is not UTF-8 text"),
        ("a.jsonl", lines(ROWS[:2]) + '{"options": [["a", "\\udce9"]]}\n', "the field 'options' is not UTF-8 text"),
        ("a.jsonl", lines(ROWS[:2]).encode() + b'{"text": "caf\xe9"}\n', "the field 'text' is not UTF-8 text"),
        ("a.jsonl", lines(ROWS[:2]) + "7\n", "not an object"),
        ("a.json", json.dumps([*ROWS[:2], None]), "not an object"),
        ("a.json", json.dumps({"1": ROWS[0], "2": ROWS[1], "3": None}), "not an object"),
        ("a.csv", table(ROWS[:2]) + "3\n", "it has 1 values, but the header has 2 fields: 'text' is missing"),
        ("a.csv", table(ROWS[:2]) + "3,So,far\n", "it has 3 values, but the header has 2 fields"),
        (
            "a.csv",
            table(ROWS[:2]) + '3,"So far\n4,So\n',
            "not CSV (a quotation mark is not closed, which hides the rows after it)",
        ),
        ("a.csv", table(ROWS[:2]) + '3,"So" far\n', "not CSV ("),
        ("a.csv", table(ROWS[:2]).encode() + b"3,caf\xe9\n", "the field 'text' is not UTF-8 text"),
        ("a.csv", table(ROWS[:2]) + "\0\0\0,\0\n", "the field 'id' is not UTF-8 text"),
    ],
)
def test_a_broken_row_is_a_bad_row_and_the_others_are_read(tmp_path, name, content, why):
    rows, bad = read(tmp_path / name, content)
    assert [row["id"] for _, row in rows] == ["1", "2"]
    assert [each.where for each in bad] == [f"{name}, row 3"]
    assert bad[0].why.startswith(why)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", json.dumps(ROWS)[:-9], "not JSON: Unterminated string"),
        ("a.json", "7", "it is neither a list nor an object of rows"),
        ("a.json", json.dumps({"train": ROWS, "test": ROWS}), "it has several lists of rows: train, test"),
        ("a.json", b"", "the file is empty"),
        ("a.csv", "id,text,id\n1,x,2\n", "the column 'id' is there twice"),
        ("a.csv", table().encode("utf-16")[:-1], "'utf-16-le' codec can't decode"),
        ("a.csv.gz", gzip.compress(table().encode(), mtime=0)[:-9], "Compressed file ended"),
        ("a.parquet", "PAR1", ""),
        ("a.parquet", "id", "not a Parquet file"),
        ("a.csv", b"PK\x03\x04rest", "it is a ZIP archive or an Excel workbook"),
        ("a.json", "version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
        ("a.csv", "\n<!DOCTYPE html><html>", "it is an HTML page"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_with_the_cause(tmp_path, name, content, why):
    with pytest.raises(DataError) as error:
        read(tmp_path / name, content)
    assert f"{name}: cannot be read ({why}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_question_that_is_there_twice_under_one_name_is_not_lost(tmp_path):
    content = '{"q": {"id": "1"}, "q": {"id": "2"}}'
    rows, bad = read(tmp_path / "a.json", content)
    assert [row["id"] for _, row in rows] == ["1", "2"]
    assert bad == []


def test_bad_rows_print_their_place():
    assert str(BadRow("a.csv, row 3", "not an object")) == "a.csv, row 3: not an object"
