"""Read the rows of a dataset's file: JSON, JSON lines, CSV, TSV or Parquet, compressed or not.

A row is numbered by its position in the data, from 1, in every format: the header of a table and
blank lines do not count. Row 3 is the same question in a CSV, a JSON and a Parquet file.

Text is UTF-8 whatever the locale is, or UTF-16 if the file starts with its byte order mark. Of JSON
lines and tables, a row that cannot be parsed is a bad row, and the others are read; any other JSON
is read completely or not at all.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

from pydantic import ValidationError

from espresso.errors import DataError

RawRow = Mapping[str, Any]
"""A row of a file: field name -> value, as parsed from JSON, CSV or Parquet."""

DELIMITERS = ",;\t"
"""What may separate the columns of a table; the most frequent one in the header does."""

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; unpack it, or save it as CSV",
    b"version https://git-lfs": "a Git LFS pointer instead of the data; fetch it with `git lfs pull`",
    b"<!doctype html": "an HTML page instead of the data",
    b"<html": "an HTML page instead of the data",
}
"""Start of a file, in lower case -> what it is."""

_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
"""What stands for bytes that are not UTF-8, and for half of a character."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used."""

    where: str
    """File name and row number, counted from 1 without header and blank lines: "val.csv, row 3"."""

    why: str
    """The reason, without a full stop."""

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


def read_rows(path: Path, bad: list[BadRow]) -> Iterator[tuple[str, RawRow]]:
    """Read the rows of a JSON, JSON lines, CSV, TSV or Parquet file, compressed by gzip or not.

    JSON is a list of rows, an object of rows by id, or an object that holds one such list
    (`{"info": ..., "data": [...]}`). A name with an unknown ending is read as JSON.

    Args:
        path: the file.
        bad: rows that cannot be parsed are appended to it.

    Yields:
        (where, row); `where` is as in `BadRow`.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        for number, row in enumerate(_parse(path), 1):
            where = f"{path.name}, row {number}"
            if isinstance(row, ValueError):
                bad.append(BadRow(where, str(row)))
            elif not isinstance(row, Mapping):
                bad.append(BadRow(where, "not an object"))
            elif why := _fault(row):
                bad.append(BadRow(where, why))
            else:
                yield where, row
    except (OSError, EOFError, zlib.error, ValueError, TypeError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path}: cannot be read ({why}). Give the dataset's file as it was downloaded.") from None


def reason(error: Exception) -> str:
    """Return the reason for a bad row from the error that its reading raised."""
    if isinstance(error, KeyError):
        return f"no field {error}"
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        if first["type"] == "value_error":
            return first["msg"].removeprefix("Value error, ")
        return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"].lower())))
    return " ".join(str(error).split()).rstrip(".")


class _Repeated(dict[str, Any]):
    """A JSON object in which a name occurs more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _fault(row: RawRow) -> str | None:
    """Return why a row cannot be used whatever its dataset is."""
    if isinstance(row, _Repeated):
        names = [name for name, _ in row.pairs]
        return f"the field {next(name for name in names if names.count(name) > 1)!r} is there twice"
    broken = next((name for name, value in row.items() if _NOT_TEXT.search(str(name)) or _has_broken_text(value)), None)
    return None if broken is None else f"the field {broken!r} is not UTF-8 text"


def _has_broken_text(value: object) -> bool:
    if isinstance(value, str):
        return _NOT_TEXT.search(value) is not None
    if isinstance(value, Mapping):
        return any(_has_broken_text(inner) for pair in value.items() for inner in pair)
    return isinstance(value, Sequence) and not isinstance(value, bytes) and any(map(_has_broken_text, value))


def _parse(path: Path) -> Iterator[Any]:
    """Yield the rows of a file; one that cannot be parsed is yielded as a ValueError."""
    with _open(path) as (file, start):
        suffix = Path(path.name.lower().removesuffix(".gz")).suffix
        if start.startswith(b"PAR1"):
            from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]  # noqa: PLC0415 - only for this format

            for batch in ParquetFile(io.BytesIO(file.read())).iter_batches():
                yield from batch.to_pylist()
            return
        if suffix == ".parquet":
            raise ValueError("not a Parquet file")
        encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")
        with io.TextIOWrapper(file, encoding, errors="surrogateescape", newline="") as text:
            match suffix:
                case ".csv" | ".tsv" | ".tab":
                    yield from _table(text, None if suffix == ".csv" else "\t")
                case ".jsonl" | ".ndjson":
                    yield from _json_lines(text)
                case _:
                    yield from _json(text.read())


@contextmanager
def _open(path: Path) -> Iterator[tuple[IO[bytes], bytes]]:
    """Open a file and yield it, decompressed, with its first bytes.

    Raises ValueError if it is empty, or known to be something else than data.
    """
    with path.open("rb") as raw:
        file = cast(io.BufferedReader, gzip.GzipFile(fileobj=raw) if raw.peek(2).startswith(b"\x1f\x8b") else raw)
        start = file.peek(64)[:64]
        if not start:
            raise ValueError("the file is empty")
        if kind := next((kind for head, kind in _FOREIGN.items() if start.lstrip().lower().startswith(head.lower())), None):
            raise ValueError(f"it is {kind}")
        yield file, start


# Tables


def _table(lines: Iterable[str], delimiter: str | None) -> Iterator[RawRow | ValueError]:
    """Yield the rows of a CSV or TSV file.

    A row without the header's number of columns is an error, because a separator may be missing
    anywhere in it.
    """
    lines = iter(lines)
    first = next((line for line in lines if line.strip()), "")
    reader = csv.reader(
        chain([first], lines),
        delimiter=delimiter or max(DELIMITERS, key=first.count),
        skipinitialspace=True,
        strict=True,
    )
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise ValueError(f"the header is not CSV: {error}") from None
    while header and not header[-1]:
        header.pop()
    if twice := next((name for name in header if name and header.count(name) > 1), None):
        raise ValueError(f"the column {twice!r} is there twice")
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            unclosed = "a quotation mark is not closed, which hides the rows after it"
            yield ValueError(f"not CSV ({unclosed if 'end of data' in str(error) else error})")
            continue
        while len(cells) > len(header) and not cells[-1].strip():
            cells.pop()
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(header):
            yield ValueError(f"it has {len(cells)} values, but the header has {len(header)} fields")
        elif len(cells) < len(header):
            yield ValueError(
                f"it has {len(cells)} values, but the header has {len(header)} fields: {header[len(cells)]!r} is missing"
            )
        else:
            yield dict(zip(header, cells, strict=True))


# JSON


def _json(content: str) -> Iterator[Any]:
    """Yield the rows of a JSON document, or of JSON lines."""
    try:
        document = _loads(content)
    except ValueError as error:
        first, _, rest = content.strip().partition("\n")
        if rest and isinstance(_json_or_error(first), dict):
            yield from _json_lines(io.StringIO(content, newline=""))
            return
        raise ValueError(f"not JSON: {error}") from None
    yield from _rows_of(document)


def _rows_of(document: Any) -> Iterable[Any]:
    """Return the rows of a JSON document. Raises ValueError if it is not clear which they are."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        raise ValueError("it is neither a list nor an object of rows")
    pairs = document.pairs if isinstance(document, _Repeated) else list(document.items())
    if isinstance(document.get("data"), list | dict):
        return _rows_of(document["data"])
    lists = [name for name, value in pairs if isinstance(value, list) and value and all(isinstance(row, dict) for row in value)]
    if len(lists) > 1:
        raise ValueError(f"it has several lists of rows: {', '.join(lists)}; give a file with one of them")
    if lists:
        return cast(list[Any], document[lists[0]])
    if any(isinstance(value, dict) for _, value in pairs) and all(isinstance(value, dict | None) for _, value in pairs):
        return [value for _, value in pairs]
    return [document] if pairs else []


def _json_lines(lines: Iterable[str]) -> Iterator[Any]:
    """Yield the rows of JSON lines, which may contain U+2028 and other ends of lines of Unicode."""
    for line in lines:
        if text := line.strip().lstrip("\ufeff"):
            yield _json_or_error(text)


def _json_or_error(text: str) -> Any:
    try:
        return _loads(text)
    except ValueError as error:
        return ValueError(f"not JSON ({error})")


def _loads(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    return values if len(values) == len(pairs) else _Repeated(pairs)
