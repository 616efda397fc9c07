"""How reliably pictures of the procedural world are told from others (`espresso.world.recognize`).

    python -m benchmarks.recognize --stories 100 --others ../shared/data

False refusals: clips of each split, as rendered, and compressed at several qualities and sizes. A
clip is refused if one of four frames is. False acceptances: the images and videos of a folder (up
to 24 frames of each video), and generated pictures.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from espresso import media
from espresso.errors import MediaError
from espresso.media.plan import evenly_spaced
from espresso.world import SPLITS, render, story
from espresso.world.cast import COLOURS
from espresso.world.draw import FLOORS
from espresso.world.recognize import MIN_MATCH, background_match
from eval.stats import interval

FRAME_SIZE = 112
"""Frame size of the `tiny` profile in pixels."""

CHECKED = 4
"""Frames that are checked of each clip of the world."""


def main() -> None:
    """Print error rates with 95 % intervals, and the match closest to the threshold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=100, help="clips of each split")
    parser.add_argument("--others", type=Path, help="folder of images and videos that are not of the world")
    parser.add_argument("--pictures", type=int, default=300, help="generated pictures of each kind")
    options = parser.parse_args()
    print(f"{'clips of the world':42} {'n':>5} {'refused':>8}  95 % interval   lowest match")
    for split in SPLITS:
        matches: dict[str, list[float]] = {}
        for index in range(options.stories):
            for name, frames in _versions(split, index):
                matches.setdefault(name, []).append(background_match(frames).min())
        for name, values in matches.items():
            _print(f"{split}, {name}", np.array(values) < MIN_MATCH, min(values))
    print(f"\n{'other pictures':42} {'n':>5} {'accepted':>8}  95 % interval   highest match")
    rng = np.random.default_rng(0)
    for name, draw in GENERATED.items():
        matched = background_match(np.stack([draw(rng) for _ in range(options.pictures)]))
        _print(name, matched >= MIN_MATCH, matched.max())
    if options.others:
        for kind, highest in _others(options.others).items():
            _print(f"{kind}s of {options.others}", np.array(highest) >= MIN_MATCH, max(highest))


def _print(name: str, errors: np.ndarray, extreme: float) -> None:
    low, high = interval(errors.tolist(), range(len(errors)))
    print(f"{name:42} {len(errors):5} {errors.sum():8}  {low:5.1%} to {high:5.1%}   {extreme:.2f}")


def _versions(split: str, index: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, frames) of a clip: as rendered, and decoded from H.264 files, JPEGs and GIFs."""
    drawn = story(split, index)  # type: ignore[arg-type]
    times = evenly_spaced(np.arange(0, drawn.duration, 1 / 12).tolist(), CHECKED)
    yield "as rendered", np.stack([render(drawn, time, FRAME_SIZE) for time in times])
    frames = [Image.fromarray(render(drawn, time, 224)) for time in times]
    for side, crf in ((224, 18), (224, 40), (96, 28), (96, 35), (480, 45)):
        yield f"H.264 {side} px, crf {crf}", _compressed([frame.resize((side, side)) for frame in frames], crf)
    for name, options in (("JPEG", {"quality": 10}), ("GIF", {})):
        pictures = []
        for frame in frames:
            buffer = io.BytesIO()
            frame.save(buffer, name, **options)
            pictures.append(media.open(buffer.getvalue()).decode([0], size=FRAME_SIZE)[0])
        yield name + (" quality 10" if options else ""), np.stack(pictures)


def _compressed(frames: list[Image.Image], crf: int) -> np.ndarray:
    """Return frames after H.264 compression, decoded at the profile's frame size."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=12, options={"crf": str(crf), "preset": "veryfast"})
            stream.width, stream.height = frames[0].size
            stream.pix_fmt, stream.thread_count = "yuv420p", 1
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_image(frame)))
            container.mux(stream.encode())
        return media.open(path).decode(range(len(frames)), size=FRAME_SIZE)


def _others(folder: Path) -> dict[str, list[float]]:
    """Return the highest match of each image and video in a folder, by kind."""
    matches: dict[str, list[float]] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                clip = media.open(path)
                clip.decode([len(clip.times) - 1], size=FRAME_SIZE)  # detects damage, which shortens `times`
                frames = clip.decode(evenly_spaced(range(len(clip.times)), 24), size=FRAME_SIZE)
        except MediaError:
            continue
        matches.setdefault(clip.visual.kind, []).append(background_match(frames).max())
    return matches


def _noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (FRAME_SIZE, FRAME_SIZE, 3), dtype=np.uint8)


def _plain(rng: np.random.Generator) -> np.ndarray:
    """Return one colour, half the time that of a floor of the world."""
    colour = FLOORS[rng.integers(3)] if rng.random() < 0.5 else rng.integers(0, 256, 3)
    return np.full((FRAME_SIZE, FRAME_SIZE, 3), colour, np.uint8)


def _gradient(rng: np.random.Generator) -> np.ndarray:
    ends = rng.integers(0, 256, (2, 3))
    share = np.linspace(0, 1, FRAME_SIZE)[:, None, None]
    picture = np.broadcast_to(ends[0] * (1 - share) + ends[1] * share, (FRAME_SIZE, FRAME_SIZE, 3))
    return np.rot90(picture, int(rng.integers(4))).astype(np.uint8)


def _slide(rng: np.random.Generator) -> np.ndarray:
    """Return a slide: a title bar and lines of text on a light background."""
    image = Image.new("RGB", (FRAME_SIZE, FRAME_SIZE), tuple(rng.integers(200, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    pen.rectangle([0, 0, FRAME_SIZE, int(rng.integers(12, 30))], fill=tuple(rng.integers(0, 256, 3).tolist()))
    for line in range(rng.integers(2, 6)):
        pen.text((8, 34 + 14 * line), "the results of run " + str(rng.integers(1000)), fill=(30, 30, 30))
    return np.asarray(image)


def _cartoon(rng: np.random.Generator) -> np.ndarray:
    """Return a cartoon in the world's colours: a band and shapes at random positions on a floor."""
    image = Image.new("RGB", (FRAME_SIZE, FRAME_SIZE), FLOORS[rng.integers(3)])
    pen, colours = ImageDraw.Draw(image), [*COLOURS.values(), (206, 222, 238), (104, 106, 112), (150, 120, 104)]
    top = int(rng.integers(0, FRAME_SIZE))
    pen.rectangle([0, top, FRAME_SIZE, top + int(rng.integers(10, 50))], fill=colours[rng.integers(len(colours))])
    for _ in range(rng.integers(1, 6)):
        x, y, r = (int(value) for value in rng.integers((0, 0, 5), (FRAME_SIZE, FRAME_SIZE, 30)))
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape([x - r, y - r, x + r, y + r], fill=colours[rng.integers(len(colours))], outline=(40, 40, 44))
    return np.asarray(image)


def _altered(rng: np.random.Generator) -> np.ndarray:
    """Return a training picture that is upside down, inverted, or half covered by noise."""
    drawn = story("train", int(rng.integers(100)))
    picture = render(drawn, float(rng.uniform(0, drawn.duration)), FRAME_SIZE)
    match rng.integers(3):
        case 0:
            return picture[::-1]
        case 1:
            return 255 - picture
        case _:
            return np.concatenate([picture[: FRAME_SIZE // 2], _noise(rng)[FRAME_SIZE // 2 :]])


GENERATED = {
    "noise": _noise,
    "plain colours": _plain,
    "gradients": _gradient,
    "slides": _slide,
    "other cartoons in the world's colours": _cartoon,
    "altered pictures of the world": _altered,
}


if __name__ == "__main__":
    main()
