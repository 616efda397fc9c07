"""Atomic writes: content, mode, and no traces of failures."""

import ast
from pathlib import Path

import pytest

from espresso.files import replace_folder, write_atomic

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("content", "expected"), [("é\n", b"\xc3\xa9\n"), (b"\0\r\n", b"\0\r\n")])
def test_content_replaces_the_existing_file(tmp_path, content, expected):
    (tmp_path / "file").write_text("old")
    write_atomic(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == expected
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert len(list(tmp_path.iterdir())) == 1


def test_failure_keeps_the_existing_file(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(tmp_path / "file", "new")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "nowhere" / "file", "content")


def test_folder_is_replaced_and_chosen_files_are_kept(tmp_path):
    target, new = tmp_path / "target", tmp_path / "new"
    for folder, files in ((target, {"a.txt": "old", "b.log": "old", "c.log": "old"}), (new, {"a.txt": "new", "c.log": "new"})):
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    replace_folder(new, target, keep=["*.log"])
    assert {file.name: file.read_text() for file in target.iterdir()} == {"a.txt": "new", "b.log": "old", "c.log": "new"}
    assert [folder.name for folder in tmp_path.iterdir()] == ["target"]


def test_what_is_not_unicode_is_written_with_escapes(tmp_path):
    write_atomic(tmp_path / "file", "caf\udce9")
    assert (tmp_path / "file").read_bytes() == b"caf\\udce9"


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    write_atomic(tmp_path / ("n" * 255), "content")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"content"


SOURCES = [path for package in ("agents", "espresso", "eval", "finetune", "prompts") for path in (ROOT / package).rglob("*.py")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_is_opened_as_utf8(path):
    """In a container, the locale is often C, and text is ASCII unless something else is said."""
    for call in (node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call)):
        if ast.unparse(call.func) == "av.open":
            continue
        method = isinstance(call.func, ast.Attribute)
        name = call.func.attr if method else getattr(call.func, "id", "")
        mode = next((each.value for each in call.args[not method :] if isinstance(each, ast.Constant)), "")
        text = name in ("read_text", "write_text") or (name == "open" and "b" not in mode and (bool(mode) or not call.args))
        assert not text or any(each.arg == "encoding" for each in call.keywords), f"line {call.lineno}"
