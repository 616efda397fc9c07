"""Decode 16 evenly spaced frames of a clip with espresso.media, decord, PyAV and torchcodec.

    uv run python -m benchmarks.decode                       one generated minute of 1080p
    uv run python -m benchmarks.decode ../shared/data/video/* --frames 16

The table lists whether the frames are correct, and how long decoding takes. The time includes
opening the clip, but not imports and process start. Each measurement is a process of its own
(torchcodec with FFmpeg 5 crashes on some clips). Rounds alternate between the libraries, so that
other load on the machine affects all of them. The table shows the shortest wall time and the
shortest CPU time of all rounds; CPU time is fairer on a busy machine and includes our decoder
process.

`error` is the mean absolute difference (0..255) between the worst frame and the frame that PyAV
gives at this place when it decodes the whole clip; in brackets the same for the frame before or
after. The PyAV row decodes in one pass up to the last frame and converts only the requested ones.
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
    """Decode with espresso.media."""
    return media.sample(media.open(path), media.uniform(count)).pixels


def with_decord(path: str, count: int) -> np.ndarray:
    """Decode with decord2 and its default number of threads."""
    import decord  # noqa: PLC0415

    reader = decord.VideoReader(path)
    return reader.get_batch(_places(len(reader), count)).asnumpy()


def with_pyav(path: str, count: int) -> np.ndarray:
    """Decode with PyAV in one pass, with FFmpeg's choice of threads."""
    with av.open(path) as container:
        total = container.streams.video[0].frames or sum(1 for packet in container.demux(video=0) if packet.size)
    wanted, frames = _places(total, count), []
    with av.open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                frames.append(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))
            if number >= wanted[-1]:
                break
    return np.stack(frames)


def with_torchcodec(path: str, count: int) -> np.ndarray:
    """Decode with torchcodec, all threads and the faster seek mode."""
    from torchcodec.decoders import VideoDecoder  # noqa: PLC0415

    video = VideoDecoder(path, seek_mode="approximate", num_ffmpeg_threads=0, dimension_order="NHWC")
    return video.get_frames_at(_places(video.metadata.num_frames or 0, count)).data.numpy()


READERS: dict[str, Callable[[str, int], np.ndarray]] = {
    "espresso": with_espresso,
    "decord": with_decord,
    "PyAV": with_pyav,
    "torchcodec": with_torchcodec,
}


def _places(total: int, count: int) -> list[int]:
    """Return the frame indices that `media.uniform` samples."""
    return media.evenly_spaced(range(total), count)


def measure(reader: str, path: str, count: int) -> dict[str, float | str]:
    """Decode once after a warm-up on a small clip; return seconds and thumbnails."""
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder) / "tiny.mp4"
        media.write_video(tiny, _scenery(64, 64, 8), 8)
        READERS[reader](str(tiny), 2)
    start, start_cpu = time.perf_counter(), _cpu_seconds()
    frames = READERS[reader](path, count)
    seconds, cpu = time.perf_counter() - start, _cpu_seconds() - start_cpu
    return {"seconds": seconds, "cpu": cpu, "thumbs": json.dumps(np.stack([_thumb(f) for f in frames]).tolist())}


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of the decoder processes (Linux only)."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in decoder.pids]
    return time.process_time() + sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def _thumb(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX))


def _scenery(width: int, height: int, count: int) -> Iterator[np.ndarray]:
    """Yield frames of a camera pan over a detailed landscape with a moving red square."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 5 + 60, width // 5 + 100, 3), dtype=np.uint8)
    ground = np.asarray(Image.fromarray(noise).resize((width + 500, height + 300), Image.Resampling.BICUBIC))
    for number in range(count):
        x, y = int(250 + 240 * np.sin(number / 50)), int(150 + 140 * np.cos(number / 70))
        frame = ground[y : y + height, x : x + width].copy()
        left = number * 5 % (width - height // 6)
        frame[height // 3 : height // 2, left : left + height // 6] = (220, 40, 40)
        yield frame


def _looped(path: Path, source: Path, times: int) -> None:
    """Write a clip that repeats `source`, without encoding it again."""
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
    """Write one minute of 1080p to a folder and return its path."""
    path = folder / "minute-1080p.mp4"
    media.write_video(folder / "part.mp4", _scenery(1920, 1080, 10 * 24), 24)
    _looped(path, folder / "part.mp4", 6)
    return path


def _reference(path: str) -> list[np.ndarray]:
    """Return thumbnails of all frames that PyAV decodes before the first error."""
    thumbs = []
    with av.open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        try:
            for frame in container.decode(video=0):
                thumbs.append(_thumb(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)))
        except av.FFmpegError:
            pass
    return thumbs


def _error(thumbs: np.ndarray, reference: list[np.ndarray], shift: int = 0) -> float:
    """Return the error of the worst frame against the reference `shift` frames later."""
    places = [min(max(place + shift, 0), len(reference) - 1) for place in _places(len(reference), len(thumbs))]
    return max(float(np.abs(thumb.astype(int) - reference[place]).mean()) for thumb, place in zip(thumbs, places, strict=True))


def _compare(path: str, count: int, rounds: int) -> tuple[str, np.ndarray]:
    """Return a line of the table, and our (wall, CPU) time relative to the fastest other's."""
    reference, cells = _reference(path), {}
    best = {reader: np.full(2, np.inf) for reader in READERS}
    for _ in range(rounds):
        for reader in READERS:
            command = [sys.executable, "-m", "benchmarks.decode", path, "--frames", str(count), "--one", reader]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                reason = done.stderr.strip().splitlines()[-1][:60] if done.returncode > 0 and done.stderr.strip() else "crash"
                cells[reader] = f"failed: {reason}"
                continue
            result = json.loads(done.stdout)
            best[reader] = np.minimum(best[reader], [result["seconds"], result["cpu"]])
            thumbs = np.array(json.loads(result["thumbs"]), dtype=np.uint8)
            error, neighbour = _error(thumbs, reference), min(_error(thumbs, reference, shift) for shift in (-1, 1))
            wall, cpu = best[reader] * 1000
            cells[reader] = f"{wall:.0f} / {cpu:.0f} ms, error {error:.1f} ({neighbour:.1f})"
    ratio = best["espresso"] / np.min([times for reader, times in best.items() if reader != "espresso"], axis=0)
    line = " | ".join([Path(path).name[:28], *(cells[reader] for reader in READERS), f"{ratio[0]:.2f} / {ratio[1]:.2f}"])
    return line, ratio


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", help="videos; default: one generated minute of 1080p")
    parser.add_argument("--frames", type=int, default=16, help="frames to decode from each clip")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each library")
    parser.add_argument("--one", choices=READERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.clips[0], options.frames)))
        return
    print("clip | " + " | ".join(READERS) + " | ratio to the fastest other (wall / CPU time each)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if not options.clips:
            options.clips = [str(minute(Path(folder)))]
        ratios = []
        for path in options.clips:
            line, ratio = _compare(path, options.frames, options.rounds)
            print(line, flush=True)
            if ratio.all():  # 0 if no other library could read the clip
                ratios.append(ratio)
    wall, cpu = np.exp(np.log(ratios).mean(axis=0)) if ratios else (np.nan, np.nan)
    print(f"geometric mean of the ratios over {len(ratios)} clips: {wall:.2f} / {cpu:.2f}")


if __name__ == "__main__":
    main()
