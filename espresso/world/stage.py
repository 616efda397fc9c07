"""Positions of all things at a time: walking, acting, at home, behind the wall or off-screen.

Coordinates are fractions of the frame; boxes are xyxy pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from espresso.schema import Box
from espresso.world.cast import VEHICLES, Thing
from espresso.world.story import Beat, Story

RADIUS, HOME_RADIUS = 0.105, 0.075
"""Radius of a thing while it acts, and at home."""

HOME_Y, MARK_Y = 0.34, 0.72
"""Vertical position at home, and while acting."""

Spot = tuple[float, float, float]
"""x, y, radius."""


@dataclass(frozen=True)
class Sprite:
    """A visible thing and its position."""

    thing: Thing
    """The thing in its current colour."""

    x: float
    """Horizontal centre, as a fraction of the frame."""

    y: float
    """Vertical centre, as a fraction of the frame."""

    radius: float
    """Radius, as a fraction of the frame."""

    def box(self, size: int) -> Box:
        """Return the bounding box, xyxy in pixels, in a square frame of `size` pixels."""
        wide = 1.5 if self.thing.shape in VEHICLES else 1.0
        r = self.radius
        return tuple(round(min(max(v, 0), 1) * size, 1) for v in (self.x - r * wide, self.y - r, self.x + r * wide, self.y + r))  # type: ignore[return-value]


def sprites(story: Story, time: float) -> list[Sprite]:
    """Return all visible things at a time in seconds, back to front."""
    places = [(thing, _place(story, thing, time)) for thing in story.cast]
    return [Sprite(_look(story, thing, time), *spot) for thing, spot in places if spot is not None]


def _look(story: Story, thing: Thing, time: float) -> Thing:
    """Return a thing in its current colour; shapes are unique within a clip, colours change."""
    turned = [b for b in story.beats if b.verb == "turns" and b.doer and b.doer.shape == thing.shape and b.start <= time]
    return Thing(turned[-1].value, thing.shape) if turned and story.place == "yard" else thing


def same(thing: Thing, other: Thing | None, place: str) -> bool:
    """Whether both are the same thing, possibly in different colours.

    Shapes are unique within a clip of the yard or kitchen, vehicles within a clip of the street.
    """
    return other is not None and (thing == other if place == "street" else thing.shape == other.shape)


def _place(story: Story, thing: Thing, time: float) -> Spot | None:
    """Return the position of a thing, or None while it is off-screen."""
    before = None
    for i, beat in enumerate(story.beats):
        if time < beat.walk:
            break
        here = _resting(story, thing, i - 1)
        if same(thing, beat.doer, story.place) or same(thing, beat.target, story.place):
            as_doer = same(thing, beat.doer, story.place)
            if time >= beat.start:
                before = _act(story, beat, as_doer, min((time - beat.start) / (beat.end - beat.start), 1.0))
                if time > beat.end:
                    before = _resting(story, thing, i)
            else:
                before = _between(here, _act(story, beat, as_doer, 0.0), (time - beat.walk) / (beat.start - beat.walk))
        else:
            last = story.beats[i - 1] if i else None
            left_off = last and (same(thing, last.doer, story.place) or same(thing, last.target, story.place))
            if left_off and time < beat.start and last:
                stop = _act(story, last, same(thing, last.doer, story.place), 1.0)
                before = _between(stop, here, (time - beat.walk) / (beat.start - beat.walk))
            else:
                before = here
    else:
        return before if story.beats and time >= story.beats[0].walk else _resting(story, thing, -1)
    return before if time >= story.beats[0].walk else _resting(story, thing, -1)


def _between(a: Spot | None, b: Spot | None, share: float) -> Spot | None:
    if a is None or b is None:
        out = a or b
        if out is None:
            return None
        edge = (-0.15 if out[0] < 0.5 else 1.15, out[1], out[2])
        a, b = a or edge, b or edge
    share = 0.5 - 0.5 * math.cos(math.pi * min(max(share, 0.0), 1.0))
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def _resting(story: Story, thing: Thing, upto: int) -> Spot | None:
    """Return the position of a thing after the beats up to number `upto`, or None if off-screen."""
    own = [b for b in story.beats[: upto + 1] if same(thing, b.doer, story.place) or same(thing, b.target, story.place)]
    slot = [t.shape if story.place != "street" else str(t) for t in story.cast].index(
        thing.shape if story.place != "street" else str(thing)
    )
    last = own[-1] if own else None
    if story.place == "street":
        return None
    if last is not None:
        if last.verb in ("leaves", "goes"):
            return None
        if last.verb == "hides" and same(thing, last.doer, story.place):
            return _act(story, last, True, 1.0)
    elif any(b.verb == "enters" and same(thing, b.doer, story.place) for b in story.beats[:1]):
        return None
    count = len(story.cast)
    slot = slot if story.layout % 4 < 2 else count - 1 - slot
    return ((slot + 0.5) / count, HOME_Y if story.place == "yard" else 0.16, HOME_RADIUS)


def wall_x(story: Story) -> float:
    """Return the horizontal position of the wall; the lamp is on the opposite side."""
    return 0.12 if story.layout % 2 else 0.88


def _act(  # noqa: PLR0911, PLR0912 - a flat table of verbs
    story: Story, beat: Beat, doer: bool, u: float
) -> Spot:
    """Return the position of the doer (or the target) of a beat at progress `u`, 0 to 1."""
    way = -1.0 if beat.mirror else 1.0
    mid = 0.5 + beat.shift

    def at(offset: float, y: float = MARK_Y) -> Spot:
        return (mid + way * offset, y, RADIUS)

    match beat.verb:
        case "hits":
            return at(-0.13 if doer else 0.13 + 0.02 * u)
        case "pushes":
            return at((-0.15 if doer else 0.045) + 0.12 * u)
        case "follows":
            return at((-0.27 if doer else 0.11) + 0.12 * u)
        case "gives":
            return at(-0.21 if doer else 0.21)
        case "feels":
            return at(0.02 * math.sin(9 * u), MARK_Y + 0.03)
        case "turns":
            return at(0.0)
        case "hides":
            x = wall_x(story)
            return (x + (0.10 if x < 0.5 else -0.10), MARK_Y, RADIUS)
        case "leaves":
            return (0.28 - 0.26 * u if beat.value == "left" else 0.72 + 0.26 * u, MARK_Y, RADIUS)
        case "enters":
            return (0.03 + 0.27 * u if beat.value == "left" else 0.97 - 0.27 * u, MARK_Y, RADIUS)
        case "lamp":
            x = 1.0 - wall_x(story)
            return (x + (0.22 if x < 0.5 else -0.22), MARK_Y, RADIUS)
        case "goes":
            return (0.46 + beat.shift, 0.36 + 0.10 * u, RADIUS)
        case "crosses":
            return (0.5 + way * (0.30 * u - 0.15), MARK_Y, 0.13)
        case _:
            return (0.5 - way * 0.27, MARK_Y, 0.13)
