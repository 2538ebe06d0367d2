"""Without a control group that may be written, limits are watched from outside (bubblewrap)."""

from dataclasses import replace

import pytest

from tests.needs import needs_bubblewrap
from usher.box import bubblewrap_box
from usher.box.bubblewrap_box import BubblewrapBoxes
from usher.box.model import BoxSettings, File, Limit, Task

SETTINGS = BoxSettings(cpu_seconds=5, wall_seconds=15)


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(bubblewrap_box, "make_group", lambda *_: None)

    def run_program(program, settings=SETTINGS):
        task = Task(("python3", "main.py"), {"main.py": File(program.encode())})
        return BubblewrapBoxes().run(task, settings)

    return run_program


@needs_bubblewrap
@pytest.mark.parametrize(
    ("program", "settings", "limit"),
    [
        ("while True: pass", replace(SETTINGS, cpu_seconds=0.3), Limit.CPU),
        (
            "import os\nfor _ in range(3): os.fork() and os.getpid()\nwhile True: pass",
            replace(SETTINGS, cpu_seconds=0.5),
            Limit.CPU,
        ),
        ("import time; time.sleep(60)", replace(SETTINGS, wall_seconds=1), Limit.WALL),
        ("while True: print('x' * 1000)", replace(SETTINGS, output_bytes=9000), Limit.OUTPUT),
        (
            "import time, os\nfor _ in range(4):\n    if os.fork() == 0:\n"
            "        held = bytearray(b'x' * (20 << 20)); time.sleep(10); os._exit(0)\n"
            "time.sleep(10)",
            SETTINGS,
            Limit.MEMORY,
        ),
    ],
)
def test_limits_hold(run, program, settings, limit):
    outcome = run(program, settings)
    assert outcome.limit is limit, outcome
    assert not outcome.usage.is_exact


@needs_bubblewrap
def test_too_many_processes_end_the_run(run):
    program = """
import os, time
for _ in range(60):
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
time.sleep(20)
"""
    outcome = run(program, replace(SETTINGS, processes=20))
    assert not outcome.is_success, outcome
    assert outcome.wall_seconds < 15


@needs_bubblewrap
def test_a_program_within_them_is_left_alone(run):
    outcome = run("print(sum(range(1000)))")
    assert (outcome.stdout, outcome.exit_code) == (b"499500\n", 0), outcome


@needs_bubblewrap
def test_processor_time_of_children_that_nobody_waits_for_counts(run):
    """The kernel adds that of a child to its parent's only where the parent waits for it."""
    program = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(8):
    if os.fork() == 0:
        while time.process_time() < 0.5:
            pass
        os._exit(0)
    try:
        os.wait()
    except ChildProcessError:
        pass
print("IN")
"""
    outcome = run(program, replace(SETTINGS, cpu_seconds=2, wall_seconds=60))
    assert outcome.limit is Limit.CPU, outcome


@needs_bubblewrap
def test_a_limit_that_is_over_before_the_box_stands_is_a_limit_all_the_same(run):
    outcome = run("import time; time.sleep(60)", replace(SETTINGS, wall_seconds=0.0001))
    assert outcome.limit is Limit.WALL
