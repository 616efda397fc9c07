"""Small files in the formats of ImSitu, SWiG and VidSitu, and the situations of the world."""

import json

import pytest

from espresso.datasets.raiv import world
from espresso.datasets.raiv.situations import Situation, VisualReference

SPACE = {
    "nouns": {
        "n10287213": {"gloss": ["man", "adult male"], "def": "an adult person who is male"},
        "n02084071": {"gloss": ["dog", "domestic dog"], "def": "a member of the genus Canis"},
        "n02129165": {"gloss": ["lion", "king of beasts"], "def": "large gregarious feline"},
        "n09416076": {"gloss": ["rock", "stone"], "def": "a lump of hard mineral matter"},
        "n09217230": {"gloss": ["beach"], "def": "an area of sand"},
    },
    "verbs": {
        "clinging": {
            "framenet": "Retaining",
            "abstract": "an AGENT clings to the CLUNGTO at a PLACE",
            "def": "stick to",
            "order": ["agent", "clungto", "place"],
            "roles": {"agent": {"framenet": "agent"}, "clungto": {"framenet": "theme"}, "place": {"framenet": "place"}},
        },
        "jumping": {
            "framenet": "Self_motion",
            "abstract": "an AGENT jumps at a PLACE",
            "def": "jump",
            "order": ["agent", "place"],
            "roles": {"agent": {"framenet": "self_mover"}, "place": {"framenet": "place"}},
        },
    },
}
CLINGING = {
    "verb": "clinging",
    "frames": [
        {"agent": "n10287213", "clungto": "n09416076", "place": ""},
        {"agent": "n10287213", "clungto": "n09416076", "place": "n09217230"},
        {"agent": "n02129165", "clungto": "n02084071", "place": ""},
    ],
}
JUMPING = {
    "verb": "jumping",
    "height": 512,
    "width": 682,
    "bb": {"agent": [36, 9, 512, 400], "place": [-1, -1, -1, -1]},
    "frames": [{"agent": "n02084071", "place": "n09217230"}] * 3,
}


@pytest.fixture
def imsitu(tmp_path):
    """Write ImSitu files with images by split, and return their folder."""

    def write(train=None, dev=None, test=None):
        folder = tmp_path / "annotations" / "imsitu"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (("imsitu_space", SPACE), ("train", train), ("dev", dev), ("test", test)):
            (folder / f"{name}.json").write_text(json.dumps(content or {}))
        return folder.parent

    return write


def event(clip, verb="talk.01", **args):
    names = args or {"Arg0": "a man in a white suit", "Scene of the Event": "on the beach"}
    lemma = verb.partition(".")[0]
    places = {name: place for place, name in enumerate(names)}
    return {
        "vid_uid": clip[2:13],
        "vid_seg_int": clip,
        "Verb": f"{lemma} (speak)",
        "VerbID": verb,
        "Arg_List": places,
        "Args": names,
    }


def row(clip, **events):
    return {name: event(clip) | {"EvRel": "Causes"} for name in ("Ev1", "Ev2", "Ev3", "Ev4", "Ev5")} | events


@pytest.fixture
def vidsitu(tmp_path):
    """Write VidSitu files with the rows of train and valid, and return their folder."""

    def write(train=(), valid=(), listed=None):
        folder = tmp_path / "annotations" / "vidsitu_annotations"
        for name, rows in (("train", train), ("valid", valid)):
            clips = sorted({each["Ev1"]["vid_seg_int"] for each in rows if "Ev1" in each}) if listed is None else listed
            for part, file, content in (("split_files", "vseg_split", clips), ("vseg_ann_files", "vsann", rows)):
                (folder / part).mkdir(parents=True, exist_ok=True)
                (folder / part / f"{file}_{name}_lb.json").write_text(json.dumps(content))
        return folder.parent

    return write


@pytest.fixture
def situation():
    """Return a function that makes a situation of an image or a video."""

    def make(name, verb, objects=(), roles=None, split="train", kind="image", unsure=()):
        roles = roles or {}
        visual = VisualReference(path=name, kind=kind)
        return Situation(name, split, visual, verb, roles, tuple(sorted({*objects, *roles.values()})), frozenset(unsure))

    return make


@pytest.fixture(scope="session")
def world_situations():
    """Both kinds of situations of the stories for 3,000 pairs."""
    return world.read(("image", "video"), world.stories_for(3000)).situations
