"""Downloads: permission, limits, and cleanup of temporary files."""

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
    """A web server with the clip, a missing page and a slow page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/missing":
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            if self.path == "/slow":
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
    """An empty folder for temporary files."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def test_urls_are_disabled_by_default(server: str):
    with pytest.raises(MediaError, match="URLs are disabled"):
        media.open(f"{server}/clip.mp4")


def test_downloaded_file_is_deleted_with_the_clip(server: str, temporary: Path):
    clip = media.open(f"{server}/clip.mp4", allow_urls=True)
    assert number_of(clip.decode([42])[0]) == 42
    assert clip.visual.source.startswith("http://")
    del clip
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("page", "limits", "message"),
    [
        ("/missing", {}, "cannot download"),
        ("/clip.mp4", {"max_bytes": 1000}, "larger than"),
        ("/slow", {"read_timeout_s": 0.3}, "timed out"),
        ("/clip.mp4", {"total_timeout_s": 0.0}, "timed out"),
    ],
)
def test_failed_download_is_an_error_and_leaves_no_file(server: str, temporary: Path, page, limits, message):
    with pytest.raises(MediaError, match=message):
        fetch(server + page, **limits)
    assert not list(temporary.iterdir())


def test_unreachable_server_is_an_error():
    with pytest.raises(MediaError, match=r"127\.0\.0\.1:9/clip\.mp4: cannot download"):
        media.open("http://127.0.0.1:9/clip.mp4", allow_urls=True)
