"""A process starts in its control group where the kernel can do that, else it joins by itself."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

CHILD = """
import os, sys
from usher.box.launcher import fork_into
folder = os.open(sys.argv[1], os.O_RDONLY) if sys.argv[1:] else None
child, is_in_group = fork_into(folder)
if child == 0:
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(7)
    code = os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])
    print(is_in_group, code, open("/proc/self/cgroup").read().split(), flush=True)
    os.execvp("true", ["true"])
assert os.waitpid(child, 0) == (child, 0)
"""
UNIFIED = [
    place
    for place in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
    if (place / "cgroup.controllers").exists()
]


def told_by_child(*words: str) -> str:
    """In a process of its own, which has one thread."""
    command = [sys.executable, "-c", CHILD, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_without_a_group_it_is_a_fork():
    assert told_by_child().startswith("False 7 ")


def test_where_the_kernel_cannot_do_it_it_is_a_fork(tmp_path):
    assert told_by_child(str(tmp_path)).startswith("False 7 ")


@pytest.mark.skipif(not UNIFIED, reason="no control groups of version 2")
def test_it_is_in_the_group_from_its_start():
    group = UNIFIED[0] / f"usher-test-{uuid.uuid4().hex[:12]}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        told = told_by_child(str(group))
    finally:
        group.rmdir()
    assert told.startswith("True 7 ")
    assert f"{group.name}'" in told
