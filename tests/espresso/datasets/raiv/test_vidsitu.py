"""VidSitu."""

from espresso.datasets.raiv import vidsitu as reader
from espresso.datasets.videos import VideoFolder
from tests.espresso.datasets.raiv.conftest import event, row

CLIP = "v_M3u94uEBq9o_seg_80_90"


def test_each_event_is_a_situation_of_two_seconds(vidsitu):
    loaded = reader.read(
        vidsitu([row(CLIP, Ev2=event(CLIP, "pick_up.04", Arg0="the tall woman", Arg1="her phone", AMnr="slowly"))])
    )
    assert [each.visual.span for each in loaded.situations] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    first, second = loaded.situations[:2]
    assert (first.visual.path, first.visual.kind, first.split) == (f"{CLIP}.mp4", "video", "train")
    assert (first.verb, first.roles, first.objects) == ("talking", {"agent": "man", "place": "beach"}, ("beach", "man"))
    assert (second.verb, second.roles) == ("picking up", {"agent": "woman", "patient": "phone"})


def test_names_of_arguments_are_read_as_published_and_in_short(vidsitu):
    names = {
        "Arg0 (talker)": "a man",
        "Scene of the Event": "in a car",
        "ArgM (direction)": "up",
        "ArgM (location)": "at the door",
    }
    loaded = reader.read(
        vidsitu([row(CLIP, Ev1=event(CLIP, **names), Ev2=event(CLIP, AScn="in a car", ALoc="at the door", Arg2=""))])
    )
    first, second = loaded.situations[:2]
    assert first.roles == {"agent": "man", "place": "car", "location": "door"}
    assert second.roles == {"place": "car", "location": "door"}


def test_annotations_of_a_clip_are_combined(vidsitu):
    rows = [
        row(CLIP, Ev1=event(CLIP, verb, Arg0=who))
        for verb, who in (("walk.01", "a man"), ("walk.01", "a man"), ("run.02", "a boy"))
    ]
    first = reader.read(vidsitu(valid=rows)).situations[0]
    assert (first.verb, first.roles, first.unsure) == ("walking", {"agent": "man"}, {"boy"})


def test_validation_videos_are_divided_and_clips_of_a_video_stay_together(vidsitu):
    clips = [f"v_video_{number:03d}_seg_{start}_{start + 10}" for number in range(60) for start in (0, 10)]
    situations = reader.read(vidsitu([row(CLIP)], [row(clip) for clip in clips])).situations
    splits = {}
    for each in situations:
        splits.setdefault(each.visual.path.partition("_seg_")[0], set()).add(each.split)
    assert all(len(each) == 1 for each in splits.values())
    found = [split for each in splits.values() for split in each]
    assert found.count("train") == 1
    assert found.count("test") > found.count("val") > 5


def test_faults_are_reported_with_file_row_and_field(vidsitu):
    bad_id, no_verb, unknown = event(CLIP, "..."), event(CLIP), event(CLIP, Arg9="a man")
    del no_verb["VerbID"]
    other = event("v_M3u94uEBq9o_seg_10_20")
    rows = [row(CLIP, Ev1=bad_id, Ev2=no_verb, Ev3=unknown, Ev4=other, Ev5=None), "text"]
    loaded = reader.read(vidsitu([rows[0]], listed=[CLIP, "v_M3u94uEBq9o_seg_90_100"]))
    reported = {each.where: each.why for each in loaded.bad}
    assert "the field 'VerbID' is '...'" in reported["vsann_train_lb.json, row 1, Ev1"]
    assert reported["vsann_train_lb.json, row 1, Ev2"] == "no field 'VerbID'"
    assert reported["vsann_train_lb.json, row 1, Ev3"] == "the field 'Args' has the unknown argument 'Arg9'"
    assert "does not list" in reported["vsann_train_lb.json, row 1, Ev4"]
    assert len(loaded.bad) == 5
    assert not loaded.situations
    assert loaded.notes[0] == "2 clips of vseg_split_train_lb.json have no annotation."


def test_missing_clips_are_counted(vidsitu, tmp_path):
    (tmp_path / "media").mkdir()
    other = "v_M3u94uEBq9o_seg_90_100"
    (tmp_path / "media" / f"{other}.mp4").touch()
    loaded = reader.read(vidsitu([row(CLIP), row(other)]), VideoFolder(tmp_path / "media"))
    assert {each.visual.path for each in loaded.situations} == {f"{other}.mp4"}
    assert loaded.missing == (f"{CLIP}.mp4",)
