"""Results that a box reports of a run; output of a program cannot change them."""

import contextlib
import os
import threading
from dataclasses import replace

import pytest

from usher.box.model import BoxError, BoxSettings, File, Limit, Task

SETTINGS = BoxSettings(cpu_seconds=5, wall_seconds=15)


def test_stdin_files_and_exit_code(place):
    program = "import sys; print(sys.stdin.read() + open('in/data').read()); sys.exit(3)"
    outcome = place.run(program, SETTINGS, stdin=b"hello ", files={"in/data": File(b"world")})
    assert outcome.stdout == b"hello world\n"
    assert (outcome.exit_code, outcome.signal, outcome.limit) == (3, None, None)


def test_a_signal_is_told(place):
    outcome = place.run("import os; os.abort()", SETTINGS)
    assert (outcome.exit_code, outcome.signal) == (None, 6)


def test_stdin_that_is_not_read_blocks_nothing(place):
    outcome = place.run("print('done')", SETTINGS, stdin=b"x" * 3_000_000)
    assert outcome.stdout == b"done\n"
    assert outcome.is_success


def test_large_input_and_output(place):
    program = "import sys; sys.stdout.write(sys.stdin.read()[::-1])"
    data = b"0123456789" * 50_000
    outcome = place.run(program, SETTINGS, stdin=data)
    assert outcome.stdout == data[::-1]


def test_files_come_out_without_links(place):
    program = """
import os
os.mkdir("made")
open("made/file", "w").write("content")
os.symlink("/etc/passwd", "link")
os.mkfifo("pipe")
"""
    outcome = place.run(program, SETTINGS, collect=True)
    assert outcome.files["made/file"].data == b"content"
    assert {"link", "pipe"} <= set(outcome.left_out)


@pytest.mark.parametrize(
    "words", ["bwrap: no", "usher: the box cannot be started", "usher-box-end"]
)
@pytest.mark.parametrize("code", [1, 126])
def test_our_own_words_change_nothing(place, words, code):
    program = f"""
import sys
print({words!r}); print({words!r}, file=sys.stderr)
print("usher-box-start 99999999999999 ", file=sys.stderr)
sys.exit({code})
"""
    outcome = place.run(program, SETTINGS)
    assert (outcome.exit_code, outcome.limit) == (code, None)
    assert outcome.stderr.startswith(words.encode())
    assert outcome.usage.cpu_seconds > 0


def test_files_that_may_not_be_changed(place):
    program = """
import os
for act in (lambda: open("given", "w"), lambda: open("new", "w"), lambda: os.unlink("given")):
    try:
        act()
        print("IN")
    except OSError as error:
        print(error)
"""
    outcome = place.run(program, SETTINGS, files={"given": File(b"x")}, writable=False)
    assert b"IN" not in outcome.stdout, outcome
    assert outcome.is_success


@pytest.mark.parametrize(
    "attack",
    [
        "os.kill(os.getppid(), signal.SIGSTOP); os.kill(os.getppid(), signal.SIGKILL)",
        "os.kill(-1, signal.SIGKILL)",
        "os.kill(1, signal.SIGKILL); os.kill(1, signal.SIGSTOP)",
    ],
)
def test_signals_to_others_reach_nobody_outside(place, attack):
    program = f"""
import os, signal
try:
    {attack}
except OSError as error:
    print(error)
"""
    place.run(program, SETTINGS)
    assert place.run("print('next')", SETTINGS).stdout == b"next\n"


def test_a_stopped_program_ends(place):
    program = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    assert place.run(program, replace(SETTINGS, wall_seconds=1.0)).limit is Limit.WALL


def test_a_fork_bomb_ends_and_the_next_run_is_unaffected(place):
    program = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.001)
"""
    outcome = place.run(program, replace(SETTINGS, cpu_seconds=1.0, wall_seconds=3.0))
    assert outcome.limit in (Limit.CPU, Limit.WALL), outcome
    assert place.run("print('next')", SETTINGS).is_success


@pytest.mark.parametrize("score", ["", "echo 0 > /proc/self/oom_score_adj; "])
def test_files_that_fill_the_memory_are_the_programs_own_fault(place, score):
    """No process is large then, and the kernel may choose our guard: it is the limit all the same,
    also for a program that offers itself no sooner than others.
    """
    fill = "for d in /tmp /dev/shm /box; do head -c 60000000 /dev/zero > $d/filled; done"
    program = f"import os; os.execv('/bin/sh', ['sh', '-c', {score + fill!r}])"
    for _ in range(3):
        outcome = place.run(program, SETTINGS)
        assert outcome.limit is Limit.MEMORY, outcome
        assert not outcome.is_success


def test_memory_of_children_counts(place):
    program = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(b"x" * (16 << 20))
        time.sleep(5)
        os._exit(0)
while True:
    try:
        if os.wait()[1]:
            os.abort()
    except ChildProcessError:
        break
"""
    assert place.run(program, SETTINGS).limit is Limit.MEMORY


def test_processor_time_of_children_counts(place):
    program = """
import os
for _ in range(3):
    if os.fork() == 0:
        while True:
            pass
for _ in range(3):
    os.wait()
"""
    assert place.run(program, replace(SETTINGS, cpu_seconds=0.5)).limit is Limit.CPU


def test_two_boxes_talk_through_pipes(place):
    """The exchange of a program and its interactor."""
    to_one, from_two = os.pipe()
    to_two, from_one = os.pipe()
    ask = "print(20, flush=True); print('got', input(), file=__import__('sys').stderr)"
    answer = "print(int(input()) * 2 + 2, flush=True)"
    found = {}

    def run(name, program, source, sink):
        found[name] = place.run(program, SETTINGS, stdin_fd=source, stdout_fd=sink)

    threads = [
        threading.Thread(target=run, args=("ask", ask, to_one, from_one)),
        threading.Thread(target=run, args=("answer", answer, to_two, from_two)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found["ask"].stderr == b"got 42\n", found
    assert found["answer"].is_success


def test_a_command_that_is_not_there(place):
    outcome = place.boxes.run(Task(("./missing",), image=place.image), SETTINGS)
    assert outcome.exit_code == 127
    assert b"missing" in outcome.stderr


def test_an_image_that_is_not_there_is_the_boxes_fault(place):
    if place.name != "docker":
        return
    with pytest.raises(BoxError, match="usher-none"):
        place.boxes.run(Task(("true",), image="usher-none:1"), SETTINGS)


def test_watching_a_run_never_holds_up_its_streams(place):
    """Checks of a limit run between exchanges, and take no longer than one."""
    to_box, from_test = os.pipe()
    to_test, from_box = os.pipe()
    program = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    found = []

    def run():
        found.append(place.run(program, SETTINGS, stdin_fd=to_box, stdout_fd=from_box))

    thread = threading.Thread(target=run)
    thread.start()
    for number in range(2000):
        os.write(from_test, b"%d\n" % number)
        assert os.read(to_test, 100) == b"%d\n" % number
    os.close(from_test)
    thread.join(60)
    os.close(to_test)
    assert found[0].is_success, found


def test_a_run_uses_up_nothing_that_is_counted_for_its_user(place):
    """Inotify instances: the kernel has 128 for each user of the machine."""
    takes = """
import ctypes, sys
libc = ctypes.CDLL(None)
while libc.inotify_init() >= 0:
    pass
print("all", flush=True)
sys.stdin.read()
"""
    (in_r, in_w), (out_r, out_w) = os.pipe(), os.pipe()
    outcomes = []
    first = threading.Thread(
        target=lambda: outcomes.append(place.run(takes, SETTINGS, stdin_fd=in_r, stdout_fd=out_w))
    )
    first.start()
    assert os.read(out_r, 10) == b"all\n"
    second = place.run("import ctypes; print(ctypes.CDLL(None).inotify_init() >= 0)", SETTINGS)
    os.close(in_w)
    first.join()
    os.close(out_r)
    assert second.stdout == b"True\n", second
    assert outcomes[0].is_success


def test_what_makes_boxes_may_die_between_two_submissions(place):
    """Remove its container, or the process that starts launchers: the next submission gets
    another.
    """
    task = Task(("true",), image=place.image)
    with contextlib.closing(place.boxes.session()) as first:
        assert first.run(task, SETTINGS).is_success
    if place.name == "docker":
        for _, waiting in place.boxes._idle:
            waiting._engine.call("POST", f"{waiting._path}/kill")
    else:
        (waiting,) = place.boxes._ready
        waiting._server.kill()
        waiting._server.wait()
    with contextlib.closing(place.boxes.session()) as second:
        assert second.run(task, SETTINGS).is_success
