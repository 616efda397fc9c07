"""URLs: permission, limits, incomplete downloads, quoting, credentials and local files."""

import gzip
import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from media_clips import number_of

from espresso import media
from espresso.errors import MediaError
from espresso.media.fetch import fetch, public


class Server:
    """A web server that sends the clip, or what the path asks for; it records the requests."""

    def __init__(self, clip: bytes) -> None:
        self.requests: list[tuple[str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.requests.append((self.path, self.headers.get("Authorization")))
                self.close_connection = True
                kind = self.path.partition("?")[0].removeprefix("/")
                if kind == "missing":
                    self.send_error(404)
                elif kind.startswith("to-"):
                    self.answer(
                        b"", 302, Location={"to-clip": "/clip.mp4", "to-ftp": "ftp://h/x", "to-to": "/to-to?token=s3cret"}[kind]
                    )
                elif kind.startswith("chunked"):
                    self.answer(None, **{"Transfer-Encoding": "chunked"})
                    half = clip[: len(clip) // 2]
                    for piece in (half, clip[len(half) :], b"")[: 1 if kind == "chunked-half" else 3]:
                        self.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
                elif kind.startswith("gzip"):
                    packed = gzip.compress(clip)
                    self.answer(packed[: len(packed) // 2] if "half" in kind else packed, **{"Content-Encoding": "gzip"})
                elif kind == "brotli":
                    self.answer(clip, **{"Content-Encoding": "br"})
                elif kind == "page":
                    self.answer(b"<!doctype html><html><title>Sign in</title></html>")
                elif kind == "empty":
                    self.answer(b"")
                elif kind == "half":
                    self.answer(clip[: len(clip) // 2], **{"Content-Length": str(len(clip))})
                elif kind == "until-close":
                    self.answer(None)
                    self.wfile.write(clip)
                else:
                    if kind == "slow":
                        time.sleep(3)
                    self.answer(clip)

            def answer(self, content: bytes | None, status: int = 200, **headers: str) -> None:
                self.send_response(status)
                if content is not None:
                    headers = {"Content-Length": str(len(content))} | headers
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()


@pytest.fixture
def web(clip_path: Path):
    web = Server(clip_path.read_bytes())
    yield web
    web.httpd.shutdown()
    web.httpd.server_close()


@pytest.fixture
def server(web: Server) -> str:
    return f"http://{web.host}"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def test_a_part_of_a_downloaded_file_is_opened(web: Server, server: str, temporary: Path):
    host = server.removeprefix("http://")
    clip = media.open(f"http://zoe:s3cret@{host}/clip.mp4?token=s3cret#t=4,6", allow_urls=True)
    assert [number_of(frame) for frame in clip.decode([0, 29])] == [60, 89]
    assert clip.source == f"{server}/clip.mp4?token=***#t=4,6"
    assert [path for path, _ in web.requests] == ["/clip.mp4?token=s3cret"]
    with pytest.raises(MediaError, match="its segment is empty") as error:
        media.open(f"http://zoe:s3cret@{host}/clip.mp4#t=6,4", allow_urls=True)
    assert "s3cret" not in str(error.value)
    del clip
    assert not list(temporary.iterdir())


def test_urls_are_disabled_by_default(server: str):
    with pytest.raises(MediaError, match="URLs are disabled"):
        media.open(f"{server}/clip.mp4")


@pytest.mark.parametrize("page", ["clip.mp4", "chunked", "gzip", "until-close", "to-clip"])
def test_downloaded_file_is_deleted_with_the_clip(server: str, temporary: Path, page: str):
    clip = media.open(f"{server}/{page}", allow_urls=True)
    assert number_of(clip.decode([42])[0]) == 42
    assert clip.visual.source == f"{server}/{page}"
    del clip
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("page", "limits", "message"),
    [
        ("/missing", {}, r"cannot download \(HTTP 404 Not Found\)"),
        ("/clip.mp4", {"max_bytes": 1000}, "larger than"),
        ("/chunked", {"max_bytes": 1000}, "larger than"),
        ("/gzip", {"max_bytes": 1000}, "larger than"),
        ("/slow", {"read_timeout_s": 0.3}, "timed out"),
        ("/clip.mp4", {"total_timeout_s": 0.0}, "timed out"),
        ("/half", {}, r"the download ended after [\d,]+ of [\d,]+ bytes\. Try again"),
        ("/chunked-half", {}, "the download ended before the file was complete"),
        ("/gzip-half", {}, "the download ended before the file was complete"),
        ("/brotli", {}, "compressed as 'br'"),
        ("/empty", {}, "empty file"),
        ("/to-ftp", {}, "unknown url type: ftp"),
        ("/to-to", {}, "infinite loop"),
    ],
)
def test_failed_download_is_an_error_and_leaves_no_file(server: str, temporary: Path, page, limits, message):
    with pytest.raises(MediaError, match=message) as error:
        fetch(server + page, **limits)
    assert "\n" not in str(error.value)
    assert "s3cret" not in str(error.value)
    assert not list(temporary.iterdir())


def test_a_page_instead_of_a_file_is_named(server: str, temporary: Path):
    with pytest.raises(MediaError, match=r"/page: it is an HTML page"):
        media.open(f"{server}/page", allow_urls=True)
    assert not list(temporary.iterdir())


def test_unreachable_server_is_an_error():
    with pytest.raises(MediaError, match=r"127\.0\.0\.1:9/clip\.mp4: cannot download"):
        media.open("http://127.0.0.1:9/clip.mp4", allow_urls=True)


@pytest.mark.parametrize("path", ["/a b.mp4", "/é/влог.mp4?title=ü x", "/a%20b.mp4", "/100% real.mp4", "/a(1)[2].mp4"])
def test_spaces_and_other_letters_are_quoted(web: Server, path: str):
    media.open(f"http://{web.host}{path}", allow_urls=True)
    assert web.requests[0][0] == quote(path.replace("% ", "%25 "), safe="/?=%()[]")


def test_credentials_are_sent_and_never_shown(web: Server, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "*")
    urls = [f"http://zoe:h%40rd w0rd@{web.host}/clip.mp4?id=7&X-Amz-Signature=s3cret&token=s3cret#s3cret"]
    urls += [f"http://zoe:h%40rd w0rd@{web.host}/{page}?sig=s3cret" for page in ("half", "missing", "page", "to-ftp", "to-to")]
    urls += [
        "http://zoe:h@rd@127.0.0.1:9/x?key=s3cret",
        "http://zoe:rd/s3cret@127.0.0.1/x",
        "http://zoe:s3cret@127.0.0.1:99999/x",
    ]
    urls += ["http://zoe:s3cret@.a..b/x", "http://zoe:s3cret@[::1/x", "s3://zoe:s3cret@bucket/x", "file://zoe:s3cret@host/x"]
    for url in urls:
        try:
            clip = media.open(url, allow_urls=True)
            text = f"{clip!r} {clip.visual.model_dump_json()}"
        except MediaError as error:
            text = str(error)
        with pytest.raises(MediaError) as refused:
            media.open(url)
        text += str(refused.value)
        assert not [part for part in ("zoe", "rd w0rd", "h%40rd", "h@rd", "s3cret") if part in text], text
    assert web.requests[0][1] == f"Basic {b64encode(b'zoe:h@rd w0rd').decode()}"
    assert "s3cret" not in "".join(capfd.readouterr())


def test_credentials_are_not_sent_to_another_host(web: Server, clip_path: Path):
    other = Server(clip_path.read_bytes())
    web.httpd.RequestHandlerClass.do_GET = lambda handler: handler.answer(b"", 302, Location=f"http://{other.host}/clip.mp4")
    media.open(f"http://zoe:s3cret@{web.host}/clip.mp4", allow_urls=True)
    assert other.requests == [("/clip.mp4", None)]
    other.httpd.shutdown()
    other.httpd.server_close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:port/x", "the port is not a number"),
        ("http:///x", "names no host"),
        ("s3://bucket/clip.mp4", "s3: URLs are not supported"),
        ("data:image/png;base64,AAAA", "data: URLs are not supported"),
        ("file://server/clip.mp4", "another machine"),
    ],
)
def test_an_address_that_cannot_be_opened_is_an_error(url: str, words: str):
    with pytest.raises(MediaError, match=words) as error:
        media.open(url, allow_urls=True)
    assert "AAAA" not in str(error.value)


def test_a_proxy_that_does_not_work_is_named_and_not_used_for_this_machine(server: str, monkeypatch: pytest.MonkeyPatch):
    for proxy in ("http://zoe:s3cret@127.0.0.1:9", "socks5://127.0.0.1:9"):
        monkeypatch.setenv("http_proxy", proxy)
        assert len(media.open(f"{server}/clip.mp4", allow_urls=True).times) == 150
        with pytest.raises(MediaError, match="Check the proxy in http_proxy") as error:
            media.open("http://videos.invalid/clip.mp4", allow_urls=True)
        assert "s3cret" not in str(error.value)


def test_file_urls_open_without_permission(clip_path: Path):
    odd = clip_path.with_name("ä clip #1 100%.mp4")
    odd.write_bytes(clip_path.read_bytes())
    for url in (
        odd.as_uri(),
        f"file://localhost{quote(str(odd))}",
        f"FILE:{quote(str(odd))}",
        Path(f"file:{quote(str(clip_path))}"),
    ):
        clip = media.open(url)
        assert len(clip.times) == 150
        assert Path(clip.source).is_absolute()
    with pytest.raises(MediaError, match=r"no film\.mp4: no such file"):
        media.open("file:///tmp/no%20film.mp4")


def test_a_file_whose_name_looks_like_a_url_is_a_file(clip_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(clip_path.parent)
    Path("http:").mkdir()
    Path("http:/clip.mp4").write_bytes(clip_path.read_bytes())
    assert len(media.open("http:/clip.mp4").times) == 150


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/watch?v=abc&t=3", "https://h/watch?v=abc&t=3"),
        ("https://user@h/@someone/1.mp4", "https://h/@someone/1.mp4"),
        ("https://h/x?AWSAccessKeyId=a&Signature=b&Expires=1", "https://h/x?AWSAccessKeyId=***&Signature=***&Expires=1"),
        ("https://h/x#access_token=a", "https://h/x"),
    ],
)
def test_the_shown_url_keeps_what_is_no_secret(url: str, shown: str):
    assert public(url) == shown
