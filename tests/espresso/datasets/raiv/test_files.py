"""Sources and files."""

import pytest

from espresso.datasets.raiv import build
from espresso.datasets.raiv.files import load, write
from espresso.errors import DataError
from tests.espresso.datasets.raiv.conftest import JUMPING, row


def test_images_and_videos_of_both_sources_are_joined(imsitu, vidsitu):
    imsitu({"jumping_1.jpg": JUMPING})
    folder = vidsitu([row("v_M3u94uEBq9o_seg_80_90")])
    loaded = load("imsitu+vidsitu", "im-vid", folder)
    assert [each.visual.kind for each in loaded.situations] == ["image"] + 5 * ["video"]
    assert "jumping" in loaded.abstracts


def test_a_source_without_the_kind_of_visuals_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"Use --source imsitu\+vidsitu"):
        load("imsitu", "im-vid", tmp_path)
    with pytest.raises(DataError, match="Give --annotations FOLDER"):
        load("imsitu", "im-im", None)


def test_an_existing_file_is_not_replaced_and_a_failed_build_leaves_none(world_situations, tmp_path):
    path = tmp_path / "pairs.jsonl"

    def failing():
        yield next(iter(build("im-im", world_situations, 20, 0, common=1.0).pairs))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, failing())
    assert not list(tmp_path.iterdir())
    path.write_text("mine")
    with pytest.raises(DataError, match="exists"):
        write(path, [])
    assert path.read_text() == "mine"
