"""A judge that is killed leaves no box behind, in the middle of a run or between two."""

import contextlib
import subprocess
import sys
import time

from tests.integration.box.test_rows import pids_of

JUDGE = """
import sys
from usher.box.model import BoxSettings, Task
from usher.box.runtimes import choose_boxes
name, image, mark, then = sys.argv[1:]
boxes = choose_boxes(name, image or None).session()
limits = BoxSettings(cpu_seconds=60, wall_seconds=600)
boxes.run(Task(("true",), image=image), limits)
print("ready", flush=True)
if then == "between":
    sys.stdin.read()
code = "import time; time.sleep(600)"
boxes.run(Task(("python3", "-c", code, mark), image=image), limits)
"""


def containers() -> set[str]:
    command = ["docker", "ps", "--all", "--quiet", "--filter", "label=usher.box"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def started(place, mark, then):
    command = [sys.executable, "-c", JUDGE, place.name, place.image, mark, then]
    judge = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert judge.stdout.readline() == b"ready\n"
    return judge


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["true"], timeout=5, check=False)


def kill(judge):
    judge.kill()
    judge.wait()
    judge.stdin.close()
    judge.stdout.close()


def test_in_the_middle_of_a_run(place):
    mark = f"usher-judge-dies-{place.name}-{time.monotonic_ns()}"
    judge = started(place, mark, "run")
    try:
        wait_until(lambda: pids_of(mark))
    finally:
        kill(judge)
    wait_until(lambda: not [pid for pid in pids_of(mark) if pid != judge.pid])


def test_between_two_runs(place):
    if place.name != "docker":  # a launcher ends with its judge, as the test above shows
        return
    before = containers()
    judge = started(place, "-", "between")
    own = containers() - before
    kill(judge)
    assert own
    wait_until(lambda: not own & containers())
