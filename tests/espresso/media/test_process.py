"""Decoder processes: reuse, hangs, crashes, threads, forks and shutdown."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from media_clips import number_of

from espresso import media
from espresso.errors import MediaError
from espresso.media.process import CONCURRENCY, DecoderProcess


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch):
    """A decoder process for one test, considered hung after two seconds."""
    process = DecoderProcess(stall_s=2)
    monkeypatch.setattr("espresso.media.clip.decoder", process)
    yield process
    process.stop()


def test_the_process_is_reused(decoder: DecoderProcess, clip_path: Path):
    clip = media.open(clip_path)
    first = decoder.pid
    clip.decode([0, 100])
    media.open(clip_path).decode([5])
    assert decoder.pid == first


def test_a_hung_process_is_killed_and_replaced(decoder: DecoderProcess, clip_path: Path):
    clip = media.open(clip_path)
    hung = decoder.pid
    assert hung
    os.kill(hung, signal.SIGSTOP)
    with pytest.raises(MediaError, match=r"clip\.mp4: decoding hung for 2 s"):
        clip.decode([0])
    assert not Path(f"/proc/{hung}").exists()
    assert number_of(clip.decode([3])[0]) == 3


def test_pyav_reads_if_decord_hangs(decoder: DecoderProcess, clip_path: Path):
    clip = media.open(clip_path)
    assert decoder.pid
    os.kill(decoder.pid, signal.SIGSTOP)
    assert [number_of(frame) for frame in clip.decode(range(150))] == list(range(150))


def test_a_crash_of_the_decoder_is_an_error(decoder: DecoderProcess, clip_path: Path):
    clip = media.open(clip_path)
    pid = decoder.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(MediaError, match="the decoder crashed"):
        clip.decode([0])


def test_threads_can_decode_concurrently(clip_path: Path):
    clip, seen = media.open(clip_path), {}

    def decode(start: int) -> None:
        seen[start] = [number_of(frame) for frame in clip.decode(range(start, start + 20))]

    threads = [threading.Thread(target=decode, args=(start,)) for start in range(0, 120, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {start: list(range(start, start + 20)) for start in range(0, 120, 20)}


async def test_waiting_for_a_decoder_leaves_the_default_executor_free():
    release = threading.Event()
    decoding = [asyncio.create_task(media.in_background(release.wait)) for _ in range(100)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 5) == "done"
    release.set()
    assert all(await asyncio.gather(*decoding))


def test_a_script_without_a_main_guard_leaves_no_process(clip_path: Path):
    script = "import sys; from espresso import media; from espresso.media.process import decoder\n"
    script += "media.open(sys.argv[1]).decode([1]); print(*decoder.pids)"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script, clip_path], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split()
    assert not any(Path(f"/proc/{pid}").exists() for pid in done.stdout.split())


def in_child(work) -> int:
    """Run work in a forked process, which is killed after 30 s; return its exit code."""
    pid = os.fork()
    if not pid:
        signal.alarm(30)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_decodes_while_all_decoders_of_its_parent_are_in_use(clip_path: Path):
    clip, release, started = media.open(clip_path), threading.Event(), threading.Semaphore(0)
    pool = sys.modules["espresso.media.process"].decoder

    def use() -> None:
        process = pool._free.get()
        started.release()
        release.wait()
        pool._free.put(process)

    threads = [threading.Thread(target=use) for _ in range(CONCURRENCY)]
    for thread in threads:
        thread.start()
        started.acquire()

    def child() -> None:
        assert number_of(clip.decode([42])[0]) == 42
        assert number_of(media.open(clip_path).decode([7])[0]) == 7
        assert asyncio.run(media.in_background(clip.decode, [1])).shape == (1, 48, 64, 3)

    try:
        assert in_child(child) == 0
    finally:
        release.set()
        for thread in threads:
            thread.join()
    assert number_of(clip.decode([5])[0]) == 5, "the parent's decoders still work"
