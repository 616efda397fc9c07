"""Decode 16 frames spread over a clip: espresso.media against decord, PyAV and torchcodec; right frames first, then speed.

    uv run python -m benchmarks.decode                       a generated minute of 1080p
    uv run python -m benchmarks.decode ../shared/data/video/* --frames 16

Opening the clip is part of the time, importing libraries and starting processes is not. Each measurement runs in a process of
its own (torchcodec with FFmpeg 5 crashes on some clips), in rounds over the readers so that a busy machine is busy for all of
them. The shortest of the rounds counts, of the clock's time and of the processor's each; the latter is the fairer one where other
work runs, and includes our decoder process. `off` is the mean absolute difference (0..255) of the worst frame from the one that
PyAV gives at the same place when it decodes everything; in brackets the same with the frames before or after.
PyAV decodes in one pass up to the last frame asked for and converts only those asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

from espresso import media
from espresso.media.process import decoder


def with_espresso(path: str, count: int) -> np.ndarray:
    """Ours."""
    return media.sample(media.open(path), media.uniform(count)).pixels


def with_decord(path: str, count: int) -> np.ndarray:
    """decord2, its default number of threads."""
    import decord  # noqa: PLC0415

    reader = decord.VideoReader(path)
    return reader.get_batch(_spread(len(reader), count)).asnumpy()


def with_pyav(path: str, count: int) -> np.ndarray:
    """PyAV, one pass, threads as FFmpeg likes."""
    with av.open(path) as container:
        total = container.streams.video[0].frames or sum(1 for packet in container.demux(video=0) if packet.size)
    wanted, frames = _spread(total, count), []
    with av.open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                frames.append(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))
            if number >= wanted[-1]:
                break
    return np.stack(frames)


def with_torchcodec(path: str, count: int) -> np.ndarray:
    """torchcodec, all threads, its faster seek mode."""
    from torchcodec.decoders import VideoDecoder  # noqa: PLC0415

    video = VideoDecoder(path, seek_mode="approximate", num_ffmpeg_threads=0, dimension_order="NHWC")
    return video.get_frames_at(_spread(video.metadata.num_frames or 0, count)).data.numpy()


READERS: dict[str, Callable[[str, int], np.ndarray]] = {
    "espresso": with_espresso,
    "decord": with_decord,
    "PyAV": with_pyav,
    "torchcodec": with_torchcodec,
}


def _spread(total: int, count: int) -> list[int]:
    """Give the middles of `count` equal parts, as `media.uniform` takes them."""
    count = min(count, total)
    return [int((number + 0.5) * total / count) for number in range(count)]


def measure(reader: str, path: str, count: int) -> dict[str, float | str]:
    """Seconds of one read after a warm-up on a tiny clip, and how far its frames are off."""
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder) / "tiny.mp4"
        media.write_video(tiny, _scenery(64, 64, 8), 8)
        READERS[reader](str(tiny), 2)
    start, start_cpu = time.perf_counter(), _cpu_seconds()
    frames = READERS[reader](path, count)
    seconds, cpu = time.perf_counter() - start, _cpu_seconds() - start_cpu
    return {"seconds": seconds, "cpu": cpu, "thumbs": json.dumps(np.stack([_thumb(f) for f in frames]).tolist())}


def _cpu_seconds() -> float:
    """Processor time of this process and of the decoder processes (Linux only)."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in decoder.pids]
    return time.process_time() + sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def _thumb(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX))


def _scenery(width: int, height: int, count: int) -> Iterator[np.ndarray]:
    """Pan a camera over a detailed landscape in which a red square moves."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 5 + 60, width // 5 + 100, 3), dtype=np.uint8)
    ground = np.asarray(Image.fromarray(noise).resize((width + 500, height + 300), Image.Resampling.BICUBIC))
    for number in range(count):
        x, y = int(250 + 240 * np.sin(number / 50)), int(150 + 140 * np.cos(number / 70))
        frame = ground[y : y + height, x : x + width].copy()
        left = number * 5 % (width - height // 6)
        frame[height // 3 : height // 2, left : left + height // 6] = (220, 40, 40)
        yield frame


def _looped(path: Path, source: Path, times: int) -> None:
    """Write a clip that plays `source` several times, without encoding it again."""
    with av.open(str(path), "w") as out:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(source)) as container:
                stream = stream or out.add_stream_from_template(container.streams.video[0])
                for packet in container.demux(video=0):
                    if packet.pts is not None and packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        out.mux(packet)
                shift += container.streams.video[0].duration or 0


def minute(folder: Path) -> Path:
    """Make a minute of 1080p in a folder."""
    path = folder / "minute-1080p.mp4"
    media.write_video(folder / "part.mp4", _scenery(1920, 1080, 10 * 24), 24)
    _looped(path, folder / "part.mp4", 6)
    return path


def _truth(path: str) -> list[np.ndarray]:
    """Thumbnails of every frame that PyAV decodes before the first error."""
    thumbs = []
    with av.open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        try:
            for frame in container.decode(video=0):
                thumbs.append(_thumb(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)))
        except av.FFmpegError:
            pass
    return thumbs


def _off(thumbs: np.ndarray, truth: list[np.ndarray], shift: int = 0) -> float:
    places = [min(max(place + shift, 0), len(truth) - 1) for place in _spread(len(truth), len(thumbs))]
    return max(float(np.abs(thumb.astype(int) - truth[place]).mean()) for thumb, place in zip(thumbs, places, strict=True))


def _compare(path: str, count: int, rounds: int) -> tuple[str, np.ndarray]:
    """Make a line of the table, and ours as ratios of the fastest other's (clock, processor) time."""
    truth, cells = _truth(path), {}
    best = {reader: np.full(2, np.inf) for reader in READERS}
    for _ in range(rounds):
        for reader in READERS:
            command = [sys.executable, "-m", "benchmarks.decode", path, "--frames", str(count), "--one", reader]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                why = done.stderr.strip().splitlines()[-1][:60] if done.returncode > 0 and done.stderr.strip() else "crashes"
                cells[reader] = f"fails: {why}"
                continue
            result = json.loads(done.stdout)
            best[reader] = np.minimum(best[reader], [result["seconds"], result["cpu"]])
            thumbs = np.array(json.loads(result["thumbs"]), dtype=np.uint8)
            off, neighbour = _off(thumbs, truth), min(_off(thumbs, truth, shift) for shift in (-1, 1))
            clock, cpu = best[reader] * 1000
            cells[reader] = f"{clock:.0f} / {cpu:.0f} ms, off {off:.1f} ({neighbour:.1f})"
    ratio = best["espresso"] / np.min([times for reader, times in best.items() if reader != "espresso"], axis=0)
    line = " | ".join([Path(path).name[:28], *(cells[reader] for reader in READERS), f"{ratio[0]:.2f} / {ratio[1]:.2f}"])
    return line, ratio


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=READERS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one, asked.clips[0], asked.frames)))
        return
    print("clip | " + " | ".join(READERS) + " | ratio to the fastest other (clock / processor time each)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if not asked.clips:
            asked.clips = [str(minute(Path(folder)))]
        ratios = []
        for path in asked.clips:
            line, ratio = _compare(path, asked.frames, asked.rounds)
            print(line, flush=True)
            if ratio.all():  # 0 where no other reader could read it
                ratios.append(ratio)
    clock, cpu = np.exp(np.log(ratios).mean(axis=0)) if ratios else (np.nan, np.nan)
    print(f"geometric mean of the ratios over {len(ratios)} clips: {clock:.2f} / {cpu:.2f}")


if __name__ == "__main__":
    main()
