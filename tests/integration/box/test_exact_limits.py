"""At a limit is within it; one more is over it. In both runtimes."""

from dataclasses import replace

import pytest

from usher.box.model import BoxSettings, Limit

SETTINGS = BoxSettings(cpu_seconds=5, wall_seconds=15)
BYTES = 70_000
"""More bytes than a pipe's buffer, and no multiple of a page."""
WRITE = "import sys; sys.{stream}.write('x' * {count})"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(("count", "limit"), [(BYTES, None), (BYTES + 1, Limit.OUTPUT)])
def test_output(place, stream, count, limit):
    settings = replace(SETTINGS, output_bytes=BYTES)
    outcome = place.run(WRITE.format(stream=stream, count=count), settings)
    assert outcome.limit is limit, outcome
    assert getattr(outcome, stream) == b"x" * BYTES


def test_both_streams_have_the_whole_limit_each(place):
    settings = replace(SETTINGS, output_bytes=BYTES)
    program = "\n".join(WRITE.format(stream=s, count=BYTES) for s in ("stdout", "stderr"))
    outcome = place.run(program, settings)
    assert outcome.is_success, outcome
    assert len(outcome.stdout) == len(outcome.stderr) == BYTES


FILE = """
with open('/dev/shm/full', 'wb') as file:
    file.write(bytes({mib} << 20))
print('IN')
"""


@pytest.mark.parametrize(("mib", "limit"), [(40, None), (64, Limit.MEMORY)])
def test_files_in_memory_count_as_memory(place, mib, limit):
    """With the interpreter the first is below 64 MiB, and the second just over it."""
    outcome = place.run(FILE.format(mib=mib), replace(SETTINGS, memory_mib=64, scratch_mib=96))
    if limit is None:
        assert outcome.stdout == b"IN\n", outcome
    assert outcome.limit is limit, outcome


SPIN = """
import os, signal, time
{head}
for _ in range({children}):
    if os.fork() == 0:
        while time.process_time() < {each}:
            pass
        os._exit(0)
    time.sleep(0) if {at_once} else os.waitid(os.P_ALL, 0, os.WEXITED)
while {at_once}:
    try:
        os.wait()
    except ChildProcessError:
        break
print('IN')
"""


@pytest.mark.parametrize(
    ("children", "each", "at_once", "limit"),
    [(2, 0.3, False, None), (6, 0.5, False, Limit.CPU), (6, 0.5, True, Limit.CPU)],
)
def test_processor_time_of_children_is_the_programs(place, children, each, at_once, limit):
    program = SPIN.format(head="", children=children, each=each, at_once=at_once)
    outcome = place.run(program, replace(SETTINGS, cpu_seconds=1.5, wall_seconds=30))
    assert outcome.limit is limit, outcome
