"""The serving process: arguments by server, and no process left behind by a parent that is gone."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from espresso.models.vllm import process


@pytest.mark.parametrize(
    ("arguments", "servers"),
    [
        (["--model", "a"], [["--model", "a"]]),
        (["--model", "a", "--and", "--model", "b", "--port", "1"], [["--model", "a"], ["--model", "b", "--port", "1"]]),
    ],
)
def test_each_server_gets_its_own_arguments(arguments, servers):
    assert process._split(arguments) == servers


def test_words_before_the_arguments_are_environment_variables():
    assert process._split_environment(["CUDA_VISIBLE_DEVICES=0,1", "--model", "a=b"]) == (
        {"CUDA_VISIBLE_DEVICES": "0,1"},
        ["--model", "a=b"],
    )
    assert process._split_environment(["--model", "a"]) == ({}, ["--model", "a"])


def test_each_server_sees_its_own_gpus(tmp_path):
    done = subprocess.run([sys.executable, "-c", MAIN, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (tmp_path / "a").read_text() == "1 PCI_BUS_ID", done.stderr
    assert (tmp_path / "b").read_text() == "2,3 PCI_BUS_ID"


MAIN = """
import os, sys, time, types
from pathlib import Path
from espresso.models.vllm import process

def serve():
    file = Path(folder, sys.argv[sys.argv.index("--model") + 1])
    file.write_text(os.environ["CUDA_VISIBLE_DEVICES"] + " " + os.environ["CUDA_DEVICE_ORDER"])
    while len(list(Path(folder).iterdir())) < 2:
        time.sleep(0.05)

os.setpgid(0, 0)
folder = sys.argv[1]
name = "vllm.entrypoints.launchers.api_server.entry"
for end in range(1, 6):
    sys.modules[".".join(name.split(".")[:end])] = types.ModuleType(name)
sys.modules[name].main = serve
process._patch_cpu_platform = lambda: None
sys.argv[1:] = ["CUDA_VISIBLE_DEVICES=1", "--model", "a", "--and", "CUDA_VISIBLE_DEVICES=2,3", "--model", "b"]
process.main()
"""
CHILD = f"""
import os, runpy
end_with = runpy.run_path({process.__file__!r})["_end_with"]
parent = os.getppid()
print(os.getpid(), flush=True)
end_with(parent)
"""
SERVER = """
import os, sys, time, types
from espresso.models.vllm import process

def wait_for_the_end_of_the_parent():
    parent = os.getppid()
    print(os.getpid(), flush=True)
    while os.getppid() == parent:
        time.sleep(0.05)

name = "vllm.entrypoints.launchers.api_server.entry"
for end in range(1, 6):
    sys.modules[".".join(name.split(".")[:end])] = types.ModuleType(name)
sys.modules[name].main = lambda: time.sleep(60)
process._patch_cpu_platform = wait_for_the_end_of_the_parent
sys.argv[1:] = ["--model", "a"]
process.main()
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True, start_new_session=True)
print(child.stdout.readline(), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("child", [CHILD, SERVER], ids=["at any time", "before the servers are forked"])
def test_the_process_group_ends_with_its_parent(child):
    done = subprocess.run([sys.executable, "-c", PARENT, child], capture_output=True, text=True, check=True, timeout=60)
    status = Path(f"/proc/{done.stdout.strip()}/status")
    deadline = time.monotonic() + 10
    while alive(status) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(status)


def alive(status):
    try:
        return "State:\tZ" not in status.read_text()
    except FileNotFoundError:
        return False
