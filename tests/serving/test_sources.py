"""What a request may name: allowed folders, uploads, data URLs and allowed hosts, and nothing else."""

import base64
import io
import os
import shutil

import av
import numpy as np
import pytest
from api_server import asking
from PIL import Image

from espresso import media
from espresso.errors import EspressoError, MediaError
from espresso.media import Limits

ERROR = "not in a folder of this server"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that is allowed, next to a clip that is not."""
    root = tmp_path_factory.mktemp("media")
    (root / "allowed" / "inner").mkdir(parents=True)
    media.write_video(root / "secret.mp4", [np.full((32, 32, 3), 10 * index, np.uint8) for index in range(10)], 5)
    shutil.copyfile(root / "secret.mp4", root / "allowed" / "clip.mp4")
    (root / "allowed" / "link.mp4").symlink_to(root / "secret.mp4")
    (root / "allowed" / "up").symlink_to(root)
    (root / "allowed" / "within.mp4").symlink_to("clip.mp4")
    (root / "allowed" / "circle.mp4").symlink_to("circle.mp4")
    (root / "allowed-not").mkdir()
    shutil.copyfile(root / "secret.mp4", root / "allowed-not" / "clip.mp4")
    return root / "allowed"


@pytest.fixture
def sources(service, folder):
    return service(folders=(folder,)).sources


def test_files_of_an_allowed_folder_open_by_path_and_url(sources, folder):
    for source in (f"{folder}/clip.mp4", f"file://{folder}/clip.mp4", f"{folder}/inner/../clip.mp4", f"{folder}/within.mp4"):
        assert len(sources.open(source).times) == 10
    assert len(sources.open(f"file://{folder}/clip.mp4#t=1").times) == 5


@pytest.mark.parametrize(
    "source",
    [
        "{folder}/../secret.mp4",
        "file://{folder}/../secret.mp4",
        "file://{folder}/%2e%2e/secret.mp4",
        "file://localhost{folder}/..%2fsecret.mp4",
        "{folder}/link.mp4",
        "{folder}/up/secret.mp4",
        "{folder}/up/allowed-not/clip.mp4",
        "{folder}-not/clip.mp4",
        "{folder}/circle.mp4",
        "/proc/self/root{folder}/../secret.mp4",
        "/proc/self/environ",
        "/etc/passwd",
        "/no/such/file",
        "{folder}/\0",
        "clip.mp4",
        "~/clip.mp4",
        "concat:{folder}/clip.mp4|{folder}/../secret.mp4",
        "ftp://127.0.0.1/clip.mp4",
        "javascript:alert(1)",
    ],
)
def test_nothing_outside_the_allowed_folders_opens(sources, folder, source):
    with pytest.raises(MediaError, match=ERROR):
        sources.open(source.format(folder=folder))


def test_without_allowed_folders_no_file_opens(service, folder):
    with pytest.raises(MediaError, match=ERROR):
        service().sources.open(f"{folder}/clip.mp4")


def test_a_playlist_of_other_files_is_not_followed(sources, folder):
    playlist = folder / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXTINF:2,\n{folder.parent}/secret.mp4\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError):
        sources.open(str(playlist))
    with pytest.raises(MediaError):
        sources.open(data_url(playlist.read_bytes()))


def test_hosts_are_refused_unless_allowed(service, sources):
    with pytest.raises(MediaError, match=r"host 127.0.0.1 is not allowed"):
        sources.open("http://127.0.0.1:9/clip.mp4")
    with pytest.raises(MediaError, match="private address"):
        service(hosts=("127.0.0.1",)).sources.open("http://127.0.0.1:9/clip.mp4")


def data_url(content):
    return f"data:video/mp4;base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize(
    "url", ["data:", "data:,abc", "data:video/mp4;base64,@@@", "data:video/mp4;base64,", "data:;base64,QQ==\n"]
)
def test_a_data_url_that_is_not_base64_of_media_is_refused(sources, url):
    with pytest.raises(MediaError):
        sources.open(url)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(max_bytes=1000), "MB are more"),
        (Limits(max_pixels=1000), "32x32 pixels are more"),
        (Limits(max_seconds=1), "2.0 s are more"),
        (Limits(max_frames=9), "10 frames are more"),
    ],
)
def test_the_limits_hold_for_every_way_to_give_a_clip(service, folder, limits, message):
    clip = folder / "clip.mp4"
    opened = service(folders=(folder,), limits=limits)
    with pytest.raises(MediaError, match=message):
        opened.sources.open(str(clip))
    with pytest.raises(MediaError, match=message):
        opened.sources.open(data_url(clip.read_bytes()))
    with clip.open("rb") as file, pytest.raises(MediaError, match=message):
        opened.uploads.add(file, "clip.mp4", "user_data")


def test_images_and_videos_are_decoded_in_the_decoder_processes_only(sources, folder, monkeypatch):
    picture = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(picture, "PNG")
    content = picture.getvalue()
    monkeypatch.setattr(Image, "open", None)
    monkeypatch.setattr(av, "open", None)
    assert sources.open(data_url(content)).decode([0]).shape == (1, 10, 20, 3)
    assert sources.open(str(folder / "clip.mp4")).decode([9]).shape == (1, 32, 32, 3)


async def test_too_many_visuals_are_refused(client, folder):
    request = asking("x")
    request["messages"][0]["content"] *= 65
    async with client(folders=(folder,)) as http:
        reply = await http.post("/v1/chat/completions", json=request)
    assert reply.json()["error"]["message"].startswith("65 images and videos are given")


def hostile():
    """Name -> content of files that are broken or claim to be something else."""
    clip = io.BytesIO()
    with av.open(clip, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", 5)
        stream.width = stream.height = 64
        for index in range(10):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * index, np.uint8))))
        file.mux(stream.encode(None))
    whole, noise = clip.getvalue(), np.random.default_rng(0)
    gif, png = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (64, 64)).save(gif, "GIF")
    Image.new("RGB", (64, 64)).save(png, "PNG")
    huge = bytearray(png.getvalue())
    huge[16:24] = (2**31 - 1).to_bytes(4) * 2  # width and height of the header
    yield from {"empty": b"", "noise": noise.bytes(50_000), "half a clip": whole[: len(whole) // 2]}.items()
    yield from {"half a GIF": gif.getvalue()[:30], "half a PNG": png.getvalue()[:60], "huge PNG": bytes(huge)}.items()
    yield "a page", b"<html><script>alert(1)</script></html>"
    yield "a drawing", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield "a JPEG with noise", b"\xff\xd8\xff\xe0" + noise.bytes(5_000)
    yield "a TIFF with noise", b"II*\0\x08\0\0\0" + noise.bytes(5_000)
    yield "a HEIC with noise", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + noise.bytes(5_000)
    yield "an AVIF with noise", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + noise.bytes(5_000)
    yield "a Matroska with noise", b"\x1aE\xdf\xa3" + noise.bytes(5_000)
    for number in range(8):
        damaged = bytearray(whole)
        for place in noise.integers(0, len(whole), 40):
            damaged[place] ^= int(noise.integers(1, 256))
        yield f"damaged clip {number}", bytes(damaged)


@pytest.mark.parametrize(("name", "content"), list(hostile()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_hostile_file_gives_frames_or_one_sentence(sources, name, content):
    message = ""
    try:
        opened = sources.open(data_url(content))
        opened.decode(range(len(opened.times)), size=32)
    except EspressoError as error:
        message = str(error)
    assert "\n" not in message
    assert "Traceback" not in message


def test_temporary_files_do_not_outlive_their_requests(sources, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    opened = sources.open(data_url((folder / "clip.mp4").read_bytes()))
    assert [name for name in os.listdir(tmp_path) if name.startswith("espresso-")]
    del opened
    with pytest.raises(MediaError):
        sources.open(data_url(b"noise" * 100))
    assert not [name for name in os.listdir(tmp_path) if name.startswith("espresso-")]
