import numpy as np

from agents.annotate.graph.scenes import GROUP_SCENES, find_scenes, group_scenes, match_scenes
from espresso.schema import Caption, Frame


def captions(*texts):
    return [Caption(frame=Frame(index=10 * n, time=float(n)), text=text) for n, text in enumerate(texts)]


def vectors(*angles):
    return np.array([[np.cos(angle), np.sin(angle)] for angle in angles], np.float32)


def test_a_caption_that_resembles_the_last_kept_one_is_merged():
    scenes = find_scenes(captions("a", "a'", "b", "a"), vectors(0, 0.1, 1, 0), duration=5.0, same_above=0.9)
    assert [(scene.text, len(scene.frames)) for scene in scenes] == [("a", 2), ("b", 1), ("a", 1)]
    assert [(scene.start, scene.end) for scene in scenes] == [(0.0, 1.5), (1.5, 2.5), (2.5, 5.0)]
    assert scenes[0].core.time == 1.0


def test_slow_changes_add_up():
    scenes = find_scenes(captions("a", "b", "c", "d"), vectors(0, 0.3, 0.6, 0.9), duration=4.0, same_above=0.9)
    assert [scene.text for scene in scenes] == ["a", "c"]  # each resembles its neighbour, but not the last kept one


def test_no_caption_is_no_scene():
    assert find_scenes([], np.zeros((0, 2), np.float32), 3.0, 0.9) == []
    assert group_scenes([]) == []


def test_groups_are_consecutive_and_of_about_equal_size():
    scenes = find_scenes(captions(*map(str, range(32))), np.eye(32, dtype=np.float32), 32.0, 0.9)
    groups = group_scenes(scenes)
    assert [len(group.scenes) for group in groups] == [10, 11, 11]
    assert [scene.text for group in groups for scene in group.scenes] == list(map(str, range(32)))
    assert len(group_scenes(scenes[:GROUP_SCENES])) == 1


def test_of_equal_captions_the_next_in_time_is_cited():
    similarity = np.array([[1.0, 0.2, 1.0], [0.1, 0.9, 0.3], [1.0, 0.2, 1.0]])
    assert match_scenes(similarity) == [0, 1, 2]
    assert match_scenes(similarity[::2]) == [0, 2]
    assert match_scenes(np.array([[0.1, 0.9], [0.9, 0.1]])) == [1, 0]  # not in order of time
