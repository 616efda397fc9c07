"""Atomic writes: content, mode, and no traces of failures."""

import pytest

from espresso.files import replace_folder, write_atomic


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
