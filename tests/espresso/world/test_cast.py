"""The things that a text names."""

from espresso.world import things_in


def test_a_thing_that_changes_colour_is_named_by_the_new_one():
    assert things_in("star turns black") == ["black star"]
    assert things_in("red star gives box to blue bus") == ["red star", "blue bus"]
    assert things_in("1.0s: red bus waits. 2.5s: red bus waits.") == ["red bus"]
    assert things_in("flame heats pan") == []
