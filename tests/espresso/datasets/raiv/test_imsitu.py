"""ImSitu and SWiG."""

from espresso.datasets.raiv import imsitu as reader
from espresso.datasets.videos import VideoFolder
from tests.espresso.datasets.raiv.conftest import CLINGING, JUMPING


def test_images_of_imsitu_and_swig_are_read_with_majority_nouns(imsitu):
    loaded = reader.read(imsitu({"clinging_250.jpg": CLINGING}, {"jumping_1.jpg": JUMPING}, {"jumping_2.jpg": JUMPING}))
    clinging, jumping, other = loaded.situations
    assert (clinging.verb, clinging.roles) == ("clinging", {"agent": "man", "clungto": "rock"})
    assert clinging.objects == ("man", "rock")
    assert clinging.unsure == {"beach", "dog", "lion"}
    assert jumping.roles == {"agent": "dog", "place": "beach"}
    assert [each.split for each in (clinging, jumping, other)] == ["train", "val", "test"]
    assert (clinging.visual.path, clinging.visual.kind, clinging.visual.span) == ("clinging_250.jpg", "image", None)
    assert loaded.abstracts["jumping"] == "an AGENT jumps at a PLACE"
    assert not loaded.bad


def test_roles_without_a_box_are_counted(imsitu):
    loaded = reader.read(imsitu({"jumping_1.jpg": JUMPING, "clinging_250.jpg": CLINGING}))
    assert loaded.notes == ("1 roles of ImSitu have no box.",)


def test_faults_are_reported_with_file_image_and_field(imsitu):
    faults = {
        "verb.jpg": JUMPING | {"verb": "flying"},
        "role.jpg": JUMPING | {"frames": [{"agent": "n02084071", "tool": ""}]},
        "synset.jpg": JUMPING | {"frames": [{"agent": "n99999999"}]},
        "box.jpg": JUMPING | {"bb": {"agent": [1, 2, 3]}},
        "frames.jpg": {"verb": "jumping"},
        "none.jpg": JUMPING | {"frames": []},
        "text.jpg": "jumping",
        "good.jpg": JUMPING,
    }
    loaded = reader.read(imsitu(faults))
    assert [each.id for each in loaded.situations] == ["good.jpg"]
    reported = {each.where: each.why for each in loaded.bad}
    assert reported["train.json, verb.jpg"] == "the field 'verb' is 'flying', which imsitu_space.json does not have"
    assert reported["train.json, role.jpg"] == "the field 'frames' has the role 'tool', which 'jumping' does not have"
    assert "synset 'n99999999'" in reported["train.json, synset.jpg"]
    assert "box of 'agent'" in reported["train.json, box.jpg"]
    assert reported["train.json, frames.jpg"] == "no field 'frames'"
    assert len(loaded.bad) == 7


def test_images_are_found_in_folders_and_missing_ones_are_counted(imsitu, tmp_path):
    annotations = imsitu({"jumping_1.jpg": JUMPING, "jumping_2.jpg": JUMPING})
    (tmp_path / "media" / "jumping").mkdir(parents=True)
    (tmp_path / "media" / "jumping" / "jumping_1.jpg").touch()
    loaded = reader.read(annotations, VideoFolder(tmp_path / "media"))
    assert [each.visual.path for each in loaded.situations] == ["jumping/jumping_1.jpg"]
    assert loaded.missing == ("jumping_2.jpg",)
