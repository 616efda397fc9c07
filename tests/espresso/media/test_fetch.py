import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from media_clips import number_of

from espresso import media
from espresso.errors import MediaError
from espresso.media.fetch import fetch


@pytest.fixture
def server(clip_path: Path):
    """A web server that has the clip, and some bad habits."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/missing":
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            if self.path == "/silent":
                time.sleep(3)
            self.wfile.write(clip_path.read_bytes())

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, empty."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def test_addresses_are_not_opened_unless_allowed(server: str):
    with pytest.raises(MediaError, match="not opened unless allowed"):
        media.open(f"{server}/clip.mp4")


def test_an_allowed_address_is_downloaded_and_its_file_goes_with_the_clip(server: str, temporary: Path):
    clip = media.open(f"{server}/clip.mp4", allow_urls=True)
    assert number_of(clip.decode([42])[0]) == 42
    assert clip.visual.source.startswith("http://")
    del clip
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("page", "limits", "words"),
    [
        ("/missing", {}, "cannot be downloaded"),
        ("/clip.mp4", {"max_bytes": 1000}, "larger than"),
        ("/silent", {"silence_s": 0.3}, "fell silent"),
        ("/clip.mp4", {"total_s": 0.0}, "fell silent or took over 0 s"),
    ],
)
def test_a_download_that_goes_wrong_is_told_and_leaves_no_file(server: str, temporary: Path, page, limits, words):
    with pytest.raises(MediaError, match=words):
        fetch(server + page, **limits)
    assert not list(temporary.iterdir())


def test_a_server_that_is_down_is_told():
    with pytest.raises(MediaError, match=r"127\.0\.0\.1:9/clip\.mp4: cannot be downloaded"):
        media.open("http://127.0.0.1:9/clip.mp4", allow_urls=True)
