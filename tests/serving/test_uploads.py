"""Uploads: used by their id, bounded, and deleted with the server."""

import numpy as np
import pytest

from espresso import media
from espresso.errors import MediaError
from espresso.media import Limits
from serving.errors import UnknownFileError
from serving.uploads import Uploads


def clip(path, colour):
    media.write_video(path, [np.full((32, 32, 3), colour, np.uint8)] * 10, 5)
    return path


def add(uploads, path):
    with path.open("rb") as file:
        return uploads.add(file, path.name, "user_data")


async def test_an_upload_is_listed_and_deleted_over_http(client, tmp_path):
    path = clip(tmp_path / "clip.mp4", 90)
    async with client() as http:
        stored = (await http.post("/v1/files", files={"file": path.open("rb")}, data={"purpose": "vision"})).json()
        assert stored["filename"] == "clip.mp4"
        assert stored["bytes"] == path.stat().st_size
        assert stored["purpose"] == "vision"
        assert (await http.get("/v1/files")).json()["data"] == [stored]
        assert (await http.get(f"/v1/files/{stored['id']}")).json() == stored
        assert (await http.delete(f"/v1/files/{stored['id']}")).json()["deleted"]
        assert (await http.get(f"/v1/files/{stored['id']}")).status_code == 404
        refused = await http.post("/v1/files", files={"file": ("../../x.mp4", b"no clip")})
        assert refused.status_code == 400
        assert (await http.post("/v1/files", data={"purpose": "vision"})).status_code == 400


def test_the_same_content_has_the_same_id(tmp_path):
    uploads = Uploads(Limits(), 10**9)
    assert add(uploads, clip(tmp_path / "a.mp4", 90)).id == add(uploads, clip(tmp_path / "b.mp4", 90)).id
    assert [file.filename for file in uploads.all()] == ["b.mp4"]


def test_the_oldest_uploads_make_room(tmp_path):
    paths = [clip(tmp_path / f"{colour}.mp4", colour) for colour in (10, 90, 170)]
    uploads = Uploads(Limits(), sum(path.stat().st_size for path in paths) - 1)
    ids = [add(uploads, path).id for path in paths]
    assert [file.id for file in uploads.all()] == ids[1:]
    with pytest.raises(UnknownFileError):
        uploads.find(ids[0])


def test_what_is_no_media_is_not_stored_and_nothing_stays_at_the_end(tmp_path):
    uploads = Uploads(Limits(), 10**9)
    path = uploads.find(add(uploads, clip(tmp_path / "a.mp4", 90)).id)[0]
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 100)
    with pytest.raises(MediaError, match=r"noise.mp4"):
        add(uploads, tmp_path / "noise.mp4")
    assert list(path.parent.iterdir()) == [path]
    uploads.close()
    assert not path.parent.exists()
